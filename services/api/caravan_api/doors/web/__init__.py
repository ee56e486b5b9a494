"""The web door: the pages that people look at, rendered here and kept up to date by the server's events.

It is a door like REST: the same guard says who comes in (`access`), the same functions find, admit and change things,
the same read model is shown. What is the door's own:

    app.py        the only wiring: which screens there are, what every request passes
    page.py       one page: who looks, at which team, how it is rendered; what a route answers to an action
    entrance.py   who comes in: the cookie of a session
    origin.py     no other site may change anything here (CSRF)
    headers.py    what browsers are told to refuse (Content-Security-Policy and its like)
    problems.py   errors, for people: what failed, who can fix it, whether a retry helps
    live.py       the stream that says what has changed
    navigation.py the screens that the menu lists
    words.py      moments, durations and states in words; Jinja's filters. Pure
    drawing.py    small pictures as SVG. Pure
    assets.py     files from npm: which, and where they go
    login/        by token, by OpenID Connect, by being on the sandbox's machine
    screens/      a module each, or a folder where a screen has parts of its own
    templates/    a folder for each screen; `layout.html` around all, `parts/` for what several use
    static/       our own CSS and JavaScript modules; `vendor/` is installed, never committed

How a screen is added:

1. `screens/<screen>.py` with a `router`: `APIRouter(prefix="/<screen>", tags=[…])`. The tags are those of the REST
   routes about the same things: a token that is limited to others does not open the screen.
2. A route takes a page as its first parameter, `ViewerPage` or that of a higher role; without one the api does not
   start. It calls what REST calls, and returns `page.show("<screen>/….html", title=…, …)`. What changes something is a
   POST that returns `page.done("what was done")` or `page.goto(path, "what was done")`; errors are raised, as in REST.
3. `templates/<screen>/….html` extends `layout.html`. What shall stay up to date is an element with
   `{{ page.live("<id>", "<topics>") }}` in its tag: it is fetched again, and morphed, whenever `live.py` says that a
   topic has changed; what is in it has ids, so that each part stays itself. Addresses in links and forms are made with
   `page.url(path, …)`, which keeps the team.
4. `app.SCREENS` lists its router; `navigation.ENTRIES` its place in the menu; `assets.ICONS` each new icon.
5. Whatever changes something has `{{ page.action(path) }}` in its tag; `hx-confirm` there asks first, and `data-yes` is
   what the button says that means it.
6. Controls that somebody may not use are not shown: `{% if page.may("developer") %}`.
7. A form that a button opens is a popover of the class `dialog`, outside of what is live; a chart is an element with
   `data-chart`, on a page that loads `charts.js`.
8. What a part of a page fetches by itself once somebody opens it is in an element with `data-own`, which is left alone
   while the page around it is morphed; see the logs of runs. A form that is judged while it is filled in has its fields
   from `parts/form.html`.

No script or style stands in a page: the Content-Security-Policy refuses them. Behaviour is an attribute that a module
in `static/` looks for; looks are Tabler's classes, then `static/caravan.css`; widths of bars are attributes of SVG.
"""
