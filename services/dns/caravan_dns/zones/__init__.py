"""Where endpoint names are served from: one Protocol (`base`), one module a backend."""
