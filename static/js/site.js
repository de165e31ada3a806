// The entry of every page. Each module waits for its own marks in the document and does nothing without them.
import "./copy.js";
import "./theme.js";
import "./tabs.js";
import "./dialog.js";
import "./menu.js";
import "./keys.js";
import "./focus.js";
import "./print.js";
import "./passkeys.js";
