//! The demo: a real provider, two users, some honest work, and everything that a taken-over Core and a bad
//! neighbour try. Every line is something that happened a moment ago.

mod attacks;
mod screen;
mod story;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use countersign_portal::CoreKeys;
use countersign_portal::core::Control;
use countersign_portal::site::Site;
use tokio::signal::unix::{SignalKind, signal};

use crate::demo::screen::Screen;
use crate::demo::story::Story;
use crate::house::{Accounts, Front, House, Plan};
use crate::page::{Emulator, Pages};
use crate::relay::Relay;
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
    /// Where npm has put `@xterm/xterm`; without it the page offers no terminal.
    #[arg(long)]
    xterm: Option<PathBuf>,
}

/// Plays it.
pub(crate) async fn run(options: Options) -> Result<ExitCode, Trouble> {
    let mut interrupted = signal(SignalKind::interrupt()).doing("signals")?;
    let mut terminated = signal(SignalKind::terminate()).doing("signals")?;
    let mut hung_up = signal(SignalKind::hangup()).doing("signals")?;

    let screen = Screen::new();
    let keys = Arc::new(CoreKeys::generate("hpc")?);
    let control = Arc::new(Control::start(Arc::clone(&keys)).await?);
    let door = Site::bind().await?;
    let front = Front::Relay(door.local_addr().doing("a port for browsers")?.port());
    let plan = Plan { accounts: options.accounts, program: &options.bin, front, step_up: &[] };
    let house = Arc::new(House::build(&plan, &keys, &control)?);
    let _relay = Relay::start(door, house.endpoint()?);
    let mut story = Story::new(screen, &keys, &control);

    let ended = tokio::select! {
        told = play(&mut story, &house, &options) => Some(told),
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

async fn play(story: &mut Story<'_>, house: &Arc<House>, options: &Options) -> Result<(), Trouble> {
    story.open(house).await?;
    story.connect(house).await?;
    story.work(house).await?;
    story.suffer(house).await?;
    story.sum_up();
    if !options.check {
        let emulator = options.xterm.as_deref().map(Emulator::read).transpose()?;
        let pages = Pages::open(story.keys, story.control, house, emulator).await?;
        story.keep_serving(house, &pages).await;
    }
    Ok(())
}
