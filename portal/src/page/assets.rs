//! The files of the pages, compiled into the program. xterm.js, which draws the terminals, is
//! vendored in `portal/page/xterm`.

use countersign_portal::site::{Body, whole};
use http::{Response, StatusCode};

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const PICTURE: &str = "image/svg+xml";

/// The files of UCloud's page, and the SDK, which the page uses as any frontend does. Below `/app`
/// is the page that integrates nothing.
const UCLOUD: [(&str, &str, &str); 28] = [
    ("/", HTML, include_str!("../../page/index.html")),
    ("/page/portal.js", SCRIPT, include_str!("../../page/portal.js")),
    ("/page/core.js", SCRIPT, include_str!("../../page/core.js")),
    ("/page/files.js", SCRIPT, include_str!("../../page/files.js")),
    ("/page/jobs.js", SCRIPT, include_str!("../../page/jobs.js")),
    ("/page/tasks.js", SCRIPT, include_str!("../../page/tasks.js")),
    ("/page/terminal.js", SCRIPT, include_str!("../../page/terminal.js")),
    ("/page/transfers.js", SCRIPT, include_str!("../../page/transfers.js")),
    ("/page/portal.css", STYLE, include_str!("../../page/portal.css")),
    ("/favicon.svg", PICTURE, include_str!("../../page/cloud.svg")),
    ("/app", HTML, include_str!("../../page/plain/index.html")),
    ("/app/main.js", SCRIPT, include_str!("../../page/plain/main.js")),
    ("/app/api.js", SCRIPT, include_str!("../../page/plain/api.js")),
    ("/app/jobs.js", SCRIPT, include_str!("../../page/plain/jobs.js")),
    ("/app/shell.js", SCRIPT, include_str!("../../page/plain/shell.js")),
    ("/app/uploads.js", SCRIPT, include_str!("../../page/plain/uploads.js")),
    ("/app/vnc.js", SCRIPT, include_str!("../../page/plain/vnc.js")),
    ("/app/ws.js", SCRIPT, include_str!("../../page/plain/ws.js")),
    ("/sdk/index.js", SCRIPT, include_str!("../../../web/sdk/index.js")),
    ("/sdk/interfaces.js", SCRIPT, include_str!("../../../web/sdk/interfaces.js")),
    ("/sdk/folder.js", SCRIPT, include_str!("../../../web/sdk/folder.js")),
    ("/sdk/pieces.js", SCRIPT, include_str!("../../../web/sdk/pieces.js")),
    ("/sdk/downloads.js", SCRIPT, include_str!("../../../web/sdk/downloads.js")),
    ("/sdk/seal.js", SCRIPT, include_str!("../../../web/sdk/seal.js")),
    ("/sdk/sessions.js", SCRIPT, include_str!("../../../web/sdk/sessions.js")),
    ("/sdk/terminal.js", SCRIPT, include_str!("../../../web/sdk/terminal.js")),
    ("/xterm/xterm.mjs", SCRIPT, include_str!("../../page/xterm/xterm.mjs")),
    ("/xterm/xterm.css", STYLE, include_str!("../../page/xterm/xterm.css")),
];

/// The files of the desk's page.
const DESK: [(&str, &str, &str); 4] = [
    ("/", HTML, include_str!("../../page/desk.html")),
    ("/page/desk.js", SCRIPT, include_str!("../../page/desk.js")),
    ("/page/portal.css", STYLE, include_str!("../../page/portal.css")),
    ("/favicon.svg", PICTURE, include_str!("../../page/desk.svg")),
];

/// A file of UCloud's page.
pub(super) fn of_ucloud(path: &str) -> Option<Response<Body>> {
    find(&UCLOUD, path)
}

/// A file of the desk's page.
pub(super) fn of_desk(path: &str) -> Option<Response<Body>> {
    find(&DESK, path)
}

fn find(files: &[(&'static str, &'static str, &'static str)], path: &str) -> Option<Response<Body>> {
    let (_, kind, text) = files.iter().find(|(name, _, _)| *name == path)?;
    Some(whole(StatusCode::OK, kind, *text))
}
