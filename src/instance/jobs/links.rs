//! The public links that a user signed for a job.
//!
//! A link is named by Core's number. The job gets it only if the server has that number on record
//! for this user, whose signed request made it, and no other job has it. From then on the job's own
//! record says which port is public under which name.

use std::collections::HashSet;

use countersign_ipc::server_protocol::{JOB_LINKS_MAX, LINKS_LIST, Links, LinksList};
use countersign_keys::identity::{CoreJobId, CoreResourceId, LinkName, Username};
use countersign_keys::json::Json;
use countersign_keys::session::InterfaceKind;

use super::error::JobsError;
use super::interface::PORT_MIN;
use super::interfaces::Interfaces;
use super::record::JobLink;
use super::{Jobs, Site};

/// A link as the user signed it.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Signed {
    number: CoreResourceId,
    port: Option<u16>,
}

impl Jobs {
    /// Checks that a job which has not ended has this link, and that the server knows it as this
    /// job's: it may have been deleted.
    pub(crate) async fn check_link(&self, job: &CoreJobId, name: &LinkName) -> Result<(), JobsError> {
        let site = self.site()?;
        let record = site.job(job.as_str()).await?.record;
        record.link(name).ok_or(JobsError::NoSuchJob)?;
        let list = LinksList { username: record.username };
        let Links { links } = site.server.ask(LINKS_LIST, &list).await?;
        let is_it = links.iter().any(|known| known.name == *name && known.job.as_ref() == Some(job));
        if is_it { Ok(()) } else { Err(JobsError::Ended) }
    }
}

impl Site {
    /// The links of a job that is about to be started.
    pub(super) async fn links(
        &self,
        username: &Username,
        specification: &Json<'_>,
        interfaces: &Interfaces,
    ) -> Result<Vec<JobLink>, JobsError> {
        let signed = signed(specification)?;
        if signed.is_empty() {
            return Ok(Vec::new());
        }
        let has_own = interfaces.find(InterfaceKind::Web, 0, None).is_some();
        if !has_own && signed.iter().any(|link| link.port.is_none()) {
            return Err(JobsError::Specification(
                "the application has no web interface of its own: choose a port for the public link",
            ));
        }
        let list = LinksList { username: username.clone() };
        let Links { links } = self.server.ask(LINKS_LIST, &list).await?;
        let mut own = Vec::with_capacity(signed.len());
        for Signed { number, port } in signed {
            let known = links.iter().find(|known| known.number == number);
            let known = known.ok_or(JobsError::Specification("the job names a public link that is not yours"))?;
            if known.job.is_some() {
                return Err(JobsError::Specification("another of your jobs has this public link until it ends"));
            }
            own.push(JobLink { name: known.name.clone(), port });
        }
        Ok(own)
    }
}

/// The links in the parameters and resources of a signed specification.
fn signed(specification: &Json<'_>) -> Result<Vec<Signed>, JobsError> {
    let parameters = specification.member("parameters").and_then(Json::members).unwrap_or_default();
    let resources = specification.member("resources").and_then(Json::elements).unwrap_or_default();
    let values = parameters.iter().map(|(_, value)| value).chain(resources);
    let is_link = |value: &&Json<'_>| value.member("type").and_then(Json::as_str) == Some("ingress");
    let links: Vec<Signed> = values.filter(is_link).map(link).collect::<Result<_, _>>()?;
    if links.len() > JOB_LINKS_MAX {
        return Err(JobsError::Specification("the job has too many public links"));
    }
    let numbers: HashSet<&CoreResourceId> = links.iter().map(|link| &link.number).collect();
    if numbers.len() < links.len() {
        return Err(JobsError::Specification("the job names one public link twice"));
    }
    Ok(links)
}

fn link(value: &Json<'_>) -> Result<Signed, JobsError> {
    let number = value.member("id").and_then(Json::as_str).and_then(|number| CoreResourceId::parse(number).ok());
    let number = number.ok_or(JobsError::Specification("a public link of the job has no number"))?;
    if value.member("tls").is_some_and(|tls| !tls.is_zero()) {
        return Err(JobsError::Specification("a public link reaches its application without TLS"));
    }
    let port = match value.member("port").filter(|port| !port.is_zero()) {
        None => None,
        Some(port) => {
            let port = port.as_integer().and_then(|port| u16::try_from(port).ok()).filter(|port| *port >= PORT_MIN);
            let why = JobsError::Specification("the port of a public link is from 1024 to 65535");
            Some(port.ok_or(why)?)
        }
    };
    Ok(Signed { number, port })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn j07_links_are_what_the_user_signed_and_each_once() {
        let read = |text: &str| {
            let specification = Json::parse(text.as_bytes(), 16).unwrap();
            let links = signed(&specification).ok()?;
            Some(links.iter().map(|link| (link.number.as_str().to_owned(), link.port)).collect::<Vec<_>>())
        };
        let one = |number: &str, port| Some(vec![(number.to_owned(), port)]);
        assert_eq!(read("{}"), Some(Vec::new()));
        let value = r#"{"type":"ingress","id":"7","port":8080,"tls":false}"#;
        assert_eq!(read(&format!(r#"{{"parameters":{{"a":{value}}}}}"#)), one("7", Some(8080)));
        assert_eq!(read(&format!(r#"{{"resources":[{{"type":"file","id":"9"}},{value}]}}"#)), one("7", Some(8080)));
        assert_eq!(read(r#"{"resources":[{"type":"ingress","id":"7"}]}"#), one("7", None));
        assert_eq!(read(r#"{"resources":[{"type":"ingress","id":"7","port":0}]}"#), one("7", None));
        assert_eq!(read(&format!(r#"{{"parameters":{{"a":{value}}},"resources":[{value}]}}"#)), None);
        for bad in [
            r#""type":"ingress""#,
            r#""type":"ingress","id":7"#,
            r#""type":"ingress","id":"x""#,
            r#""type":"ingress","id":"7","port":80"#,
            r#""type":"ingress","id":"7","port":65536"#,
            r#""type":"ingress","id":"7","port":-1"#,
            r#""type":"ingress","id":"7","port":"8080""#,
            r#""type":"ingress","id":"7","tls":true"#,
        ] {
            assert_eq!(read(&format!(r#"{{"resources":[{{{bad}}}]}}"#)), None, "{bad}");
        }
        let many: Vec<String> = (0..=JOB_LINKS_MAX).map(|id| format!(r#"{{"type":"ingress","id":"{id}"}}"#)).collect();
        assert_eq!(read(&format!(r#"{{"resources":[{}]}}"#, many.join(","))), None);
    }
}
