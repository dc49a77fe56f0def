//! The files of the pages, compiled in; but for the terminal emulator, which is somebody else's and is read where npm has put it.

use std::fs;
use std::path::Path;

use bytes::Bytes;
use countersign_portal::site::{Body, whole};
use http::{Response, StatusCode};

use crate::trouble::{Doing as _, Trouble};

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const PICTURE: &str = "image/svg+xml";

/// The files of UCloud's page, and the SDK, which it uses as any frontend would.
const UCLOUD: [(&str, &str, &str); 14] = [
    ("/", HTML, include_str!("../../page/index.html")),
    ("/page/portal.js", SCRIPT, include_str!("../../page/portal.js")),
    ("/page/core.js", SCRIPT, include_str!("../../page/core.js")),
    ("/page/files.js", SCRIPT, include_str!("../../page/files.js")),
    ("/page/tasks.js", SCRIPT, include_str!("../../page/tasks.js")),
    ("/page/terminal.js", SCRIPT, include_str!("../../page/terminal.js")),
    ("/page/transfers.js", SCRIPT, include_str!("../../page/transfers.js")),
    ("/page/portal.css", STYLE, include_str!("../../page/portal.css")),
    ("/favicon.svg", PICTURE, include_str!("../../page/cloud.svg")),
    ("/sdk/index.js", SCRIPT, include_str!("../../../web/sdk/index.js")),
    ("/sdk/folder.js", SCRIPT, include_str!("../../../web/sdk/folder.js")),
    ("/sdk/pieces.js", SCRIPT, include_str!("../../../web/sdk/pieces.js")),
    ("/sdk/sessions.js", SCRIPT, include_str!("../../../web/sdk/sessions.js")),
    ("/sdk/terminal.js", SCRIPT, include_str!("../../../web/sdk/terminal.js")),
];

/// The files of the desk's page.
const DESK: [(&str, &str, &str); 4] = [
    ("/", HTML, include_str!("../../page/desk.html")),
    ("/page/desk.js", SCRIPT, include_str!("../../page/desk.js")),
    ("/page/portal.css", STYLE, include_str!("../../page/portal.css")),
    ("/favicon.svg", PICTURE, include_str!("../../page/desk.svg")),
];

/// What draws a terminal on UCloud's page: the npm package `@xterm/xterm`.
pub(crate) struct Emulator {
    script: Bytes,
    style: Bytes,
}

impl Emulator {
    /// Reads the package in this folder.
    pub(crate) fn read(folder: &Path) -> Result<Self, Trouble> {
        let file = |name: &str| fs::read(folder.join(name)).doing(folder.join(name).display()).map(Bytes::from);
        Ok(Self { script: file("lib/xterm.mjs")?, style: file("css/xterm.css")? })
    }

    /// A file of it.
    pub(super) fn file(&self, path: &str) -> Option<Response<Body>> {
        match path {
            "/xterm/xterm.mjs" => Some(whole(StatusCode::OK, SCRIPT, self.script.clone())),
            "/xterm/xterm.css" => Some(whole(StatusCode::OK, STYLE, self.style.clone())),
            _ => None,
        }
    }
}

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
