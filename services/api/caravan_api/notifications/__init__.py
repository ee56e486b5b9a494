"""What a team has told to its chat without asking: rules, what they caught, and one who delivers it."""
