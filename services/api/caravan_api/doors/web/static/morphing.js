// What morphing leaves alone: every part of the pages says so of its own elements, for idiomorph asks one function only.

const rules = [];

// `rule(old, fresh)` is true for an element that stays as it is.
export function leaveAlone(rule) {
  rules.push(rule);
}

Idiomorph.defaults.callbacks.beforeNodeMorphed = (old, fresh) => !rules.some((rule) => rule(old, fresh));
