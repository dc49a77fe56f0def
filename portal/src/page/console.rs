//! The commands of the desk's terminal. Each runs on a pseudoterminal, so it asks its usual
//! questions; the page shows its output and types the answers.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pty_process::{OwnedWritePty, Size};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use tokio::sync::watch;

use crate::program_error::{ErrorContext as _, ProgramError};

/// Maximum of running commands. A person has two or three.
const RUNNING_MAX: usize = 16;
/// How much of the end of a command's output is kept, in bytes.
const SAID_MAX: usize = 64 * 1024;
/// How long a command may run: a little longer than a begun connection may stay unfinished.
const LASTS_MAX: Duration = Duration::from_secs(20 * 60);
/// Rows and columns of the terminal. Commands fit their tables to it.
const SIZE: (u16, u16) = (40, 80);

/// The output and the exit status of a command.
#[derive(Clone, Debug, Default)]
pub(super) struct Said {
    /// The output so far.
    pub(super) text: String,
    /// The exit status, after the command has exited.
    pub(super) status: Option<i32>,
}

/// The commands by number.
#[derive(Debug, Default)]
pub(super) struct Console {
    next: AtomicU64,
    running: Mutex<HashMap<u64, Arc<Running>>>,
}

/// A command that was started.
#[derive(Debug)]
struct Running {
    keyboard: tokio::sync::Mutex<OwnedWritePty>,
    said: watch::Receiver<Said>,
}

impl Console {
    /// Starts a command and returns its number.
    pub(super) fn start(
        &self,
        command: &Command,
        ended: impl FnOnce(i32) + Send + 'static,
    ) -> Result<u64, ProgramError> {
        let mut running = self.running();
        // Commands that have exited are kept while there is room, so that the page can read their
        // output.
        if running.len() >= RUNNING_MAX {
            running.retain(|_, one| one.said.borrow().status.is_none());
        }
        if running.len() >= RUNNING_MAX {
            return Err(ProgramError::new("too many commands are waiting for an answer: end one of them"));
        }
        let (pty, pts) = pty_process::open().context("a terminal")?;
        pty.resize(Size::new(SIZE.0, SIZE.1)).context("a terminal")?;
        let child = on_terminal(command).spawn(pts).context("starting the command")?;
        let (screen, keyboard) = pty.into_split();
        let (sender, said) = watch::channel(Said::default());
        tokio::spawn(async move {
            let work = listen(screen, child, &sender);
            let status = tokio::time::timeout(LASTS_MAX, work).await.unwrap_or(1);
            ended(status);
            sender.send_modify(|said| said.status = Some(status));
        });
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        running.insert(number, Arc::new(Running { keyboard: tokio::sync::Mutex::new(keyboard), said }));
        Ok(number)
    }

    /// Types a line into a command.
    pub(super) async fn type_in(&self, number: u64, line: &str) -> Result<(), ProgramError> {
        let one = self.find(number)?;
        // A control character would act as a key.
        let line: String = line.chars().filter(|letter| !letter.is_control()).chain(['\n']).collect();
        one.keyboard.lock().await.write_all(line.as_bytes()).await.context("the command's terminal")
    }

    /// The output of a command, from its beginning.
    pub(super) fn said(&self, number: u64) -> Result<watch::Receiver<Said>, ProgramError> {
        Ok(self.find(number)?.said.clone())
    }

    fn find(&self, number: u64) -> Result<Arc<Running>, ProgramError> {
        self.running().get(&number).cloned().ok_or_else(|| ProgramError::new("this command has ended"))
    }

    fn running(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Arc<Running>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The command on a pseudoterminal, without colours and with exactly the environment of `command`.
fn on_terminal(command: &Command) -> pty_process::Command {
    let command = command.as_std();
    let given = command.get_envs().filter_map(|(name, value)| Some((name, value?)));
    let made = pty_process::Command::new(command.get_program()).args(command.get_args()).env_clear().envs(given);
    let made = made.env("TERM", "dumb").kill_on_drop(true);
    match command.get_current_dir() {
        Some(directory) => made.current_dir(directory),
        None => made,
    }
}

/// Forwards the output until the command exits. Returns the exit status.
async fn listen(mut screen: pty_process::OwnedReadPty, mut child: Child, sender: &watch::Sender<Said>) -> i32 {
    let (mut all, mut bytes) = (Vec::new(), [0; 4096]);
    // The kernel returns EIO when the last process has left the terminal.
    while let Ok(read @ 1..) = screen.read(&mut bytes).await {
        all.extend_from_slice(bytes.get(..read).unwrap_or_default());
        all.drain(..all.len().saturating_sub(SAID_MAX));
        let text = String::from_utf8_lossy(&all).replace("\r\n", "\n");
        sender.send_modify(|said| said.text = text);
    }
    child.wait().await.ok().and_then(|status| status.code()).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn n03_a_command_asks_on_its_terminal_and_is_answered() {
        let console = Console::default();
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "test -t 0 && printf 'Sure? ' && read answer && echo \"You said $answer.\"; exit 3"]);
        let (tell, told) = tokio::sync::oneshot::channel();
        let number = console.start(&command, |status| tell.send(status).unwrap()).unwrap();
        let mut said = console.said(number).unwrap();
        said.wait_for(|said| said.text == "Sure? ").await.unwrap();
        console.type_in(number, "y\x03").await.unwrap();
        let end = said.wait_for(|said| said.status.is_some()).await.unwrap().clone();
        assert_eq!((end.text.as_str(), end.status), ("Sure? y\nYou said y.\n", Some(3)));
        assert_eq!(told.await, Ok(3));
        assert!(console.type_in(99, "y").await.is_err());
    }
}
