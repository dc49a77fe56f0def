//! Sockets to applications of jobs, of web interfaces and of public links alike.
//!
//! Reads no frames. The handshake is the application's own, extensions and subprotocols included.

use http::request::Parts;
use http::{Response, StatusCode};
use hyper::body::Incoming;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;

use crate::exchange::Exchange;
use crate::http1::timeouts::Answering;
use crate::response::refusal::Refusal;
use crate::response::{Answer, AnswerBody, Transport};
use crate::web;
use crate::web::body::{ApplicationBody, OfUser};
use countersign_ipc::web::set_upgrade;

/// A socket whose application has switched, or its answer.
pub(super) struct Asked<W> {
    /// What the socket ends with: a session or a route.
    pub(super) way: W,
    pub(super) counted: OfUser,
    pub(super) answer: Response<Incoming>,
}

impl Exchange<'_> {
    /// Answers an upgrade. If the application has accepted it, a task serves the two ends.
    pub(super) async fn answer_upgrade<W, S, F>(
        self,
        head: &Parts,
        asked: Result<Asked<W>, Refusal>,
        (near, answering): (OnUpgrade, Answering),
        transport: Transport,
        serve: S,
    ) -> Answer
    where
        W: Send + 'static,
        S: FnOnce(W, TokioIo<Upgraded>, TokioIo<Upgraded>) -> F + Send + 'static,
        F: Future<Output = ()> + Send,
    {
        let mut answer = match asked {
            Ok(asked) if asked.answer.status() == StatusCode::SWITCHING_PROTOCOLS => {
                switch(asked, near, answering, serve)
            }
            Ok(Asked { answer, counted, .. }) => {
                answer.map(|body| AnswerBody::Application(Box::new(ApplicationBody::new(body, counted))))
            }
            Err(refusal) => self.explain_web(refusal, head).await,
        };
        web::finish(&mut answer, &self, transport);
        answer
    }
}

fn switch<W, S, F>(asked: Asked<W>, near: OnUpgrade, answering: Answering, serve: S) -> Answer
where
    W: Send + 'static,
    S: FnOnce(W, TokioIo<Upgraded>, TokioIo<Upgraded>) -> F + Send + 'static,
    F: Future<Output = ()> + Send,
{
    let Asked { way, counted, mut answer } = asked;
    let far = hyper::upgrade::on(&mut answer);
    let (mut head, _body) = answer.into_parts();
    head.extensions = http::Extensions::new();
    set_upgrade(&mut head.headers);
    tokio::spawn(async move {
        if let (Ok(near), Ok(far)) = tokio::join!(near, far) {
            serve(way, TokioIo::new(near), TokioIo::new(far)).await;
        }
        // Until here the connection's idle timer was paused, and the socket counted.
        drop((answering, counted));
    });
    Response::from_parts(head, AnswerBody::Whole(bytes::Bytes::new()))
}
