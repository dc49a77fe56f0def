//! A browser's uploads to a centre and downloads from it.

use bytes::Bytes;
use countersign_portal::session::{self, CONTINUE, OPEN, Piece};
use countersign_portal::{Answer, Deed};
use http_body_util::Full;

use crate::support::test_site::{PROVIDER, Person, TestSite};

/// The token in an answer to a signed call, which Core has seen.
pub(crate) fn token(answer: &Answer) -> String {
    assert!(answer.is_ok(), "{answer:?}");
    let response = &answer.json()["responses"][0];
    let endpoint = response["endpoint"].as_str().unwrap();
    let of_endpoint = endpoint.split_once("?token=").map(|(_, token)| token.to_owned());
    response["token"].as_str().map(str::to_owned).or(of_endpoint).unwrap()
}

/// The proof with which the person redeems a token, for one piece or for all of it.
pub(crate) fn proof(centre: &TestSite, person: &Person, call: &str, token: &str, piece: Option<&Piece<'_>>) -> String {
    let now = countersign_portal::now();
    session::proof(&centre.origin(), &person.username, call, token, piece, now).unwrap().sign(&person.key).unwrap()
}

/// A refusal's status and error code.
pub(crate) fn verdict(answer: &Answer) -> (u16, String) {
    (answer.status, answer.error_code())
}

/// Sends a browser's GET request.
pub(crate) async fn get(centre: &TestSite, target: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = http::Request::builder().method("GET").uri(target);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    centre.core.send_http(request.body(Full::default()).unwrap()).await.unwrap()
}

/// A download's target, with the user's proof.
pub(crate) fn target(token: &str, proof: &str) -> String {
    format!("/ucloud/{PROVIDER}/download?token={token}&intent={proof}")
}

/// Asks for a file and fetches it.
pub(crate) async fn download(centre: &TestSite, person: &Person, path: &str, headers: &[(&str, &str)]) -> Answer {
    let token = token(&centre.perform(person, &Deed::Download(path.to_owned())).await);
    get(centre, &target(&token, &proof(centre, person, OPEN, &token, None)), headers).await
}

/// A piece of a file: the request announces `piece` and carries `body`.
pub(crate) fn chunk(token: &str, proof: &str, piece: &Piece<'_>, body: &[u8]) -> http::Request<Full<Bytes>> {
    let request = http::Request::builder()
        .method("POST")
        .uri(format!("/ucloud/{PROVIDER}/chunked/upload"))
        .header("chunked-upload-token", token)
        .header("chunked-upload-offset", piece.offset)
        .header("chunked-upload-total-size", piece.total)
        .header("content-digest", piece.content_digest())
        .header("ucloud-signed-intent", proof);
    request.body(Full::from(Bytes::from(body.to_vec()))).unwrap()
}

/// Sends a body that may differ from the announced one.
pub(crate) async fn send_as(centre: &TestSite, token: &str, proof: &str, piece: &Piece<'_>, body: &[u8]) -> Answer {
    centre.core.send_http(chunk(token, proof, piece, body)).await.unwrap()
}

/// Sends a piece with its proof.
pub(crate) async fn send(centre: &TestSite, person: &Person, call: &str, token: &str, piece: &Piece<'_>) -> Answer {
    let proof = proof(centre, person, call, token, Some(piece));
    send_as(centre, token, &proof, piece, piece.bytes).await
}

/// Sends a file in pieces of that length.
pub(crate) async fn upload(
    centre: &TestSite,
    person: &Person,
    path: &str,
    policy: &str,
    content: &[u8],
    piece: usize,
) -> Answer {
    let token = token(&centre.perform(person, &Deed::upload(path, policy)).await);
    let total = i64::try_from(content.len()).unwrap();
    let mut offset = 0;
    loop {
        let bytes = &content[offset..content.len().min(offset + piece)];
        let call = if offset == 0 { OPEN } else { CONTINUE };
        let piece = Piece { offset: i64::try_from(offset).unwrap(), bytes, total };
        let answer = send(centre, person, call, &token, &piece).await;
        offset += bytes.len();
        if !answer.is_ok() || offset == content.len() {
            return answer;
        }
    }
}
