//! The jobs of the demo: those that the centre approved and their user signed, and what a
//! taken-over Core tries with them. Without a Slurm there are none.

use std::time::Duration;

use countersign_portal::core::{JobDeed, ShownJob, applications, rewriting};
use countersign_portal::signer::Projection;
use countersign_portal::{Answer, Deed, DirectPage, Intent, Request, jws, malicious, now};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::demo::attacks::{INVALID, NOT_FOUND, REPLAYED, Want};
use crate::demo::story::{Story, User, expect};
use crate::demo_provider::DemoProvider;
use crate::program_error::{ErrorContext as _, ProgramError};

/// How long Slurm and the provider may take to do something and tell Core of it.
const TOLD_MAX: Duration = Duration::from_secs(30);
/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(50);

/// The application, and how long its job would count, in seconds.
const APPLICATION: (&str, &str) = ("count", "2.1");
const NUMBERS: u32 = 600;
/// The time of a job, and of its extension, in minutes.
const MINUTES: i64 = 10;
const MS_PER_MINUTE: i64 = 60_000;

/// What Core would like to run, and the file from which its success would be seen.
const EVIL_FILE: &str = "taken-by-core";
const EVIL_SCRIPT: &str = "touch ~/taken-by-core\n";

const NOT_APPROVED: Want = (403, "APPLICATION_NOT_APPROVED");
const ANOTHER_SCRIPT: Want = (403, "ANOTHER_SCRIPT");

impl Story<'_> {
    /// Starts jobs, follows, extends and ends them, and lets Core cheat meanwhile.
    pub(crate) async fn run_jobs(&mut self, demo_provider: &DemoProvider) -> Result<(), ProgramError> {
        if demo_provider.slurm().is_none() {
            return Ok(());
        }
        self.screen.title("Jobs on the centre's Slurm");
        self.review(demo_provider).await?;
        let (first, request) = self.start_shown(demo_provider).await?;
        let (second, _) = self.start(demo_provider, "alice starts another job", None).await?;
        self.read_log(demo_provider, &first).await?;
        self.extend(demo_provider, &first).await?;
        self.screen.title("The taken-over Core and alice's jobs");
        self.attack_jobs(demo_provider, [&first, &second], request).await?;
        self.screen.title("Alice ends her jobs");
        for number in [&first, &second] {
            self.terminate(demo_provider, number).await?;
        }
        let queue = self.queue(demo_provider).await?;
        self.must(queue.is_empty(), "no job is left in Slurm's queue");
        Ok(())
    }

    /// An application that is not approved does not start. An administrator reviews it.
    async fn review(&mut self, demo_provider: &DemoProvider) -> Result<(), ProgramError> {
        let (name, version) = APPLICATION;
        let number = self.control.add_job(self.alice()?.person.username, None);
        let request = self.signed(demo_provider, self.alice()?, &count(&number, None))?;
        let answer = self.core()?.invoke(&request).await?;
        self.control.remove_job(&number);
        let said = said(&answer);
        if said == "403 APPLICATION_NOT_APPROVED" {
            self.did(&format!("alice starts {name}, which is not approved"), &said, "it waits for a review");
        } else {
            self.fail("alice starts an application that is not approved", &said, "");
        }
        let listed = demo_provider.run_as_administrator(&["apps", "pending", "--json"]).await?;
        let pending: Value = serde_json::from_slice(&listed.stdout).context("apps pending --json")?;
        let is_it = |one: &&Value| one.get("name") == Some(&json!(name)) && one.get("version") == Some(&json!(version));
        let waiting = pending.as_array().and_then(|pending| pending.iter().find(is_it));
        let digest = waiting.and_then(|one| one.get("digest")).and_then(Value::as_str).unwrap_or_default();
        let approved = demo_provider.run_as_administrator(&["apps", "approve", name, version, digest, "--yes"]).await?;
        if !approved.status.success() {
            let said = String::from_utf8_lossy(&approved.stderr).trim().to_owned();
            return Err(ProgramError::new(format!("apps approve: {said}")));
        }
        self.did("root$ countersign apps approve", "approved", &format!("{name} {version}"));
        Ok(())
    }

    /// Starts a job after its script was shown, and signs the script too. Returns Core's number and
    /// request.
    async fn start_shown(&mut self, demo_provider: &DemoProvider) -> Result<(String, Request), ProgramError> {
        let page = self.page(demo_provider)?;
        let item = json!({"specification": rewriting::signed_job(&specification())});
        let shown = expect(page.ask(&self.alice()?.key, "jobs.preview", &item).await?, "jobs/preview")?;
        let script = shown.text("script");
        self.did("alice's browser asks for the script", &shown.status.to_string(), "directly, not through Core:");
        for line in script.lines() {
            self.screen.note(&format!("        {line}"));
        }
        let digest = jws::base64url(&jws::sha256(script.as_bytes()));
        self.must(digest == shown.text("sha256"), "the script has the digest that the centre says");
        let started = self.start(demo_provider, "alice starts it, and signs this script", Some(digest)).await?;
        let number = &started.0;
        self.did(&format!("job {number} runs"), "RUNNING", "as Core was told");
        Ok(started)
    }

    /// Starts a job, of a script with that digest if she signs one. Returns Core's number and
    /// request.
    async fn start(
        &mut self,
        demo_provider: &DemoProvider,
        what: &str,
        script: Option<String>,
    ) -> Result<(String, Request), ProgramError> {
        let number = self.control.add_job(self.alice()?.person.username, None);
        let request = self.signed(demo_provider, self.alice()?, &count(&number, script))?;
        let answer = expect(self.core()?.invoke(&request).await?, "jobs")?;
        self.judge(what, &answer, &format!("Core's job {number}"));
        self.until_told(&number, "it runs", |job| job.state == "RUNNING").await?;
        Ok((number, request))
    }

    /// Follows the log until something is in it.
    async fn read_log(&mut self, demo_provider: &DemoProvider, number: &str) -> Result<(), ProgramError> {
        let User { person, key } = self.alice()?;
        let username = person.username;
        let item = Projection::new([("id", json!(number))]);
        let intent = Intent::new(&demo_provider.origin(), username, "jobs.follow", &[item], now())?.sign(key)?;
        let core = self.core()?;
        let call = format!("jobs.provider.{}.follow", core.provider());
        let job = json!({"id": number, "owner": {"createdBy": username, "project": null}});
        let asked =
            json!({"call": call, "streamId": "0", "payload": {"type": "init", "job": job}, "signedIntent": intent});
        let stream = core.follow_socket(username).await?;
        let mut socket = WebSocketStream::from_raw_socket(stream, Role::Client, None).await;
        socket.send(Message::text(asked.to_string())).await.context("the job's log")?;
        let reading = async {
            while let Some(Ok(message)) = socket.next().await {
                let answer: Value = serde_json::from_str(message.to_text().unwrap_or_default()).unwrap_or_default();
                let text = answer.pointer("/payload/stdout").and_then(Value::as_str).unwrap_or_default();
                if !text.is_empty() {
                    return Some(text.trim().replace('\n', " "));
                }
            }
            None
        };
        match tokio::time::timeout(TOLD_MAX, reading).await.ok().flatten() {
            Some(text) => self.did(&format!("alice follows the log of job {number}"), "200", &text),
            None => self.fail("alice follows her job's log", "nothing came", ""),
        }
        Ok(())
    }

    async fn extend(&mut self, demo_provider: &DemoProvider, number: &str) -> Result<(), ProgramError> {
        let deed = Deed::Job(JobDeed::Extend(number.to_owned(), MINUTES));
        let request = self.signed(demo_provider, self.alice()?, &deed)?;
        let answer = expect(self.core()?.invoke(&request).await?, "jobs/extend")?;
        self.judge(&format!("alice gives job {number} more time"), &answer, &format!("{MINUTES} minutes"));
        let want = Some(MINUTES.saturating_mul(2).saturating_mul(MS_PER_MINUTE));
        self.until_told(number, "it has more time", |job| job.time_allocation_ms == want).await?;
        Ok(())
    }

    async fn terminate(&mut self, demo_provider: &DemoProvider, number: &str) -> Result<(), ProgramError> {
        let deed = Deed::Job(JobDeed::Terminate(number.to_owned()));
        let request = self.signed(demo_provider, self.alice()?, &deed)?;
        let answer = expect(self.core()?.invoke(&request).await?, "jobs/terminate")?;
        let job = self.until_told(number, "it has ended", ShownJob::is_final).await?;
        self.judge(&format!("alice ends job {number}"), &answer, job.statuses.last().map_or("", String::as_str));
        Ok(())
    }

    /// Tries everything on the two jobs, of which `request` started the first.
    async fn attack_jobs(
        &mut self,
        demo_provider: &DemoProvider,
        [first, second]: [&str; 2],
        request: Request,
    ) -> Result<(), ProgramError> {
        let fresh = |story: &Self| story.signed(demo_provider, story.alice()?, &count("54900", None));
        let application = applications::resolved(APPLICATION.0, APPLICATION.1);
        let evil = applications::swapped(&application, EVIL_SCRIPT);
        let swapped = malicious::another_application(fresh(self)?, &evil);
        self.attack_job("another script under the application's name", swapped, NOT_APPROVED).await?;

        let other = jws::base64url(&jws::sha256(EVIL_SCRIPT.as_bytes()));
        let shown = self.signed(demo_provider, self.alice()?, &count("54901", Some(other)))?;
        self.attack_job("a page that showed her another script", shown, ANOTHER_SCRIPT).await?;

        let again = malicious::another_job(request, "54902");
        self.attack_job("her job again, under another number", again, REPLAYED).await?;

        let deed = Deed::Job(JobDeed::Terminate(first.to_owned()));
        let ended = malicious::another_job(self.signed(demo_provider, self.alice()?, &deed)?, second);
        let what = format!("she ends job {first}, and Core names job {second}");
        self.attack_job(&what, ended, INVALID).await?;

        let [_, bob] = self.pair()?;
        let bobs = self.signed(demo_provider, bob, &deed)?;
        self.attack_job("bob signs the end of alice's job", bobs, NOT_FOUND).await?;

        let mut running = self.queue(demo_provider).await?;
        running.sort_unstable();
        self.must(running == [first, second], "the two jobs run, and no other");
        Ok(())
    }

    /// Sends one attack. Checks the response, and that Core's script has not run.
    async fn attack_job(&mut self, name: &str, request: Request, want: Want) -> Result<(), ProgramError> {
        let answer = self.core()?.send(&request).await?;
        let has_come_true = self.alice()?.person.home.join(EVIL_FILE).exists();
        if has_come_true || (answer.status, answer.error_code().as_str()) != want {
            self.fail(name, &said(&answer), &format!("it must be {} {}, and nothing else happen", want.0, want.1));
        } else {
            self.withstood(name, &said(&answer), &answer.text("why"));
        }
        Ok(())
    }

    /// Waits until the provider has told Core that of a job.
    async fn until_told(
        &self,
        number: &str,
        what: &str,
        holds: impl Fn(&ShownJob) -> bool,
    ) -> Result<ShownJob, ProgramError> {
        let told = async {
            loop {
                let job = self.control.jobs().into_iter().find(|job| job.id == number && holds(job));
                if let Some(job) = job {
                    return job;
                }
                tokio::time::sleep(PAUSE).await;
            }
        };
        tokio::time::timeout(TOLD_MAX, told).await.context(format!("Core is not told of job {number} that {what}"))
    }

    /// Core's numbers of the jobs in Slurm's queue.
    async fn queue(&self, demo_provider: &DemoProvider) -> Result<Vec<String>, ProgramError> {
        match demo_provider.slurm() {
            Some(slurm) => slurm.queue().await,
            None => Ok(Vec::new()),
        }
    }

    fn alice(&self) -> Result<&User, ProgramError> {
        Ok(self.pair()?[0])
    }

    /// Alice's browser at the provider's origin.
    fn page(&self, demo_provider: &DemoProvider) -> Result<DirectPage, ProgramError> {
        let username = self.alice()?.person.username;
        let mut page = DirectPage::open(demo_provider.endpoint()?, self.core()?.provider(), username);
        page.origin = demo_provider.origin();
        Ok(page)
    }
}

/// A job that counts.
fn specification() -> Value {
    let (name, version) = APPLICATION;
    json!({
        "application": {"name": name, "version": version}, "name": "the demo's", "replicas": 1, "hostname": "",
        "product": {"id": "small", "category": "small", "provider": "hpc"},
        "parameters": {"numbers": {"type": "integer", "value": NUMBERS}}, "resources": [],
        "timeAllocation": {"hours": 0, "minutes": MINUTES, "seconds": 0}, "allowDuplicateJob": false,
    })
}

fn count(number: &str, script: Option<String>) -> Deed {
    Deed::StartJob { number: number.to_owned(), specification: specification(), script }
}

fn said(answer: &Answer) -> String {
    format!("{} {}", answer.status, answer.error_code())
}
