"""The door for chats: `/caravan …` in Slack and Mattermost, with the same rules as at every other door.

routes        who is it, was it said before, then one answer
slack, mattermost   what each product sends and shows
signatures    whether a request is the product's own
language      what was typed, as a command
commands      what each command does
answers       what is answered, whatever the product
links         which user of ours somebody in a chat is
replies       what is answered later
"""
