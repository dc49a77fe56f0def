//! The demo: a real provider, two users, some honest work, and everything that a taken-over Core and a bad
//! neighbour try. Every line is something that happened a moment ago.

mod attacks;
mod house;
mod journal;
mod screen;
mod story;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use countersign_portal::CoreKeys;
use countersign_portal::core::Control;
use tokio::signal::unix::{SignalKind, signal};

use crate::demo::house::House;
use crate::demo::screen::Screen;
use crate::demo::story::Story;
use crate::trouble::{Doing as _, Trouble};

/// How the demo is played.
#[derive(Args)]
pub(crate) struct Options {
    /// The program `countersign`.
    #[arg(long)]
    bin: PathBuf,
    /// Whose account the users' instances run in.
    #[arg(long, value_enum)]
    accounts: Accounts,
    /// End after the last line, with status 0 only if everything came out as it must.
    #[arg(long)]
    check: bool,
}

/// Whose account the users' instances run in.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Accounts {
    /// Each in the user's own: inside `tests/support/installation.sh`, as root.
    Own,
    /// All in the one account that runs the demo.
    Shared,
}

/// Plays it.
pub(crate) async fn run(options: Options) -> Result<ExitCode, Trouble> {
    let mut interrupted = signal(SignalKind::interrupt()).doing("signals")?;
    let mut terminated = signal(SignalKind::terminate()).doing("signals")?;
    let mut hung_up = signal(SignalKind::hangup()).doing("signals")?;

    let screen = Screen::new();
    let keys = Arc::new(CoreKeys::generate("hpc")?);
    let control = Control::start(Arc::clone(&keys)).await?;
    let mut house = House::build(options.accounts, &options.bin, &keys, &control)?;
    let mut story = Story::new(screen, &keys, &control);

    let ended = tokio::select! {
        told = play(&mut story, &mut house, options.check) => Some(told),
        _ = interrupted.recv() => None,
        _ = terminated.recv() => None,
        _ = hung_up.recv() => None,
    };
    let last_words = house.last_words();
    house.close().await;
    match ended {
        None if options.check => Ok(ExitCode::FAILURE),
        None => Ok(ExitCode::SUCCESS),
        Some(Ok(())) if story.is_as_it_must() => Ok(ExitCode::SUCCESS),
        Some(Ok(())) => Ok(ExitCode::FAILURE),
        Some(Err(trouble)) if last_words.is_empty() => Err(trouble),
        Some(Err(trouble)) => Err(Trouble::new(format!("{trouble}\nThe server's last words:\n{last_words}"))),
    }
}

async fn play(story: &mut Story<'_>, house: &mut House, check: bool) -> Result<(), Trouble> {
    story.open(house).await?;
    story.connect(house).await?;
    story.work(house).await?;
    story.suffer(house).await?;
    story.sum_up();
    if !check {
        story.keep_serving(house).await;
    }
    Ok(())
}
