//! The line to the server: an instance says when it serves, and ends when the server says so or is gone.
//!
//! Nothing that the server says here has authority over what is verified.

use std::path::Path;
use std::time::Duration;

use http::{Method, StatusCode};

use crate::ipc::http::request;
use crate::ipc::messages::{Empty, INSTANCE_READY, INSTANCE_WATCH, Watched};

/// How often and how long the server is tried before the instance takes it for gone.
const TRIES: u32 = 5;
const TRY_EVERY: Duration = Duration::from_millis(100);

/// Says that the instance serves, then waits for the end.
pub(crate) async fn until_told_to_stop(socket: &Path) {
    if !say_ready(socket).await {
        tracing::error!("the server does not take this instance");
        return;
    }
    loop {
        match request(socket, Method::POST, INSTANCE_WATCH, &Empty {}).await {
            Ok((StatusCode::OK, body)) => match serde_json::from_slice(&body) {
                Ok(Watched { stop: false }) => {}
                Ok(Watched { stop: true }) | Err(_) => return,
            },
            Ok(_) | Err(_) => return,
        }
    }
}

async fn say_ready(socket: &Path) -> bool {
    for _ in 0..TRIES {
        if let Ok((StatusCode::OK, _)) = request(socket, Method::POST, INSTANCE_READY, &Empty {}).await {
            return true;
        }
        tokio::time::sleep(TRY_EVERY).await;
    }
    false
}
