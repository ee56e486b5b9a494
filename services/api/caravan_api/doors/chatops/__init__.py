"""The door for chats: `/caravan …` in Slack and Mattermost, with the same rules as at every other door.

routes              what products call: one thing said, one answer
integrations        the chats that there are, from the settings
slack, mattermost   what each product sends and shows; what it sends becomes a `said`
signatures          whether a request is the product's own
conversation        heard once, understood, done on behalf of the user behind it
links               which user of ours somebody in a chat is
language            what was typed, as a command
commands            what each command does
answers, serving    what is answered, whatever the product
replies             what is answered later
"""
