// What every page does: stay up to date, say what came of actions, open and close menus.
import { listen } from "./live.js";
import "./confirm.js";
import "./dialogs.js";
import "./menus.js";
import { leaveAlone } from "./morphing.js";
import "./requests.js";
import "./toasts.js";

Idiomorph.defaults.ignoreActiveValue = true; // what somebody is typing stays
Idiomorph.defaults.callbacks.beforeAttributeUpdated = (name, element, change) => !(name === "open" && change === "remove" && element.tagName === "DETAILS"); // and what they opened
leaveAlone((element) => element.hasAttribute?.("data-own")); // and what was fetched into a part by itself

if (document.body.dataset.live) listen(document.body.dataset.live);
