//! The demo. With `--check` it plays a story: a real provider, two users, their work, and the
//! attacks of a taken-over Core and a local account. Each printed line reports what has just
//! happened.
//!
//! Without `--check` it serves pages: the same provider with no connected user, for a person with a
//! browser.

mod attacks;
mod invitation;
mod screen;
mod story;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use countersign_portal::CoreKeys;
use countersign_portal::core::Control;
use countersign_portal::site::Site;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::demo::invitation::Invitation;
use crate::demo::screen::Screen;
use crate::demo::story::Story;
use crate::house::{Accounts, Front, House, Plan};
use crate::page::Pages;
use crate::relay::Relay;
use crate::trouble::{Doing as _, Trouble};

/// Options of the command `demo`.
#[derive(Args)]
pub(crate) struct Options {
    /// The program `countersign`.
    #[arg(long)]
    bin: PathBuf,
    /// Whose account runs the users' instances.
    #[arg(long, value_enum)]
    accounts: Accounts,
    /// Plays the story and exits, with status 0 only if every outcome is as expected. Without it:
    /// serves the pages.
    #[arg(long)]
    check: bool,
    /// Port of UCloud's page; the centre uses the next port, its terminal the one after. Without
    /// it: three free ports.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1024..=65533))]
    port: Option<u16>,
}

impl Options {
    /// The address of one of the three pages, counted from 0.
    fn address(&self, page: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port.map_or(0, |first| first.saturating_add(page))))
    }

    async fn listener(&self, page: u16) -> Result<TcpListener, Trouble> {
        let address = self.address(page);
        Site::bind_at(address.port()).await.doing(taken(address))
    }
}

fn taken(address: SocketAddr) -> String {
    format!("cannot listen on {address}; choose other ports with --port")
}

/// Runs the demo in the chosen form.
pub(crate) async fn run(options: Options) -> Result<ExitCode, Trouble> {
    let mut interrupted = signal(SignalKind::interrupt()).doing("signals")?;
    let mut terminated = signal(SignalKind::terminate()).doing("signals")?;
    let mut hung_up = signal(SignalKind::hangup()).doing("signals")?;

    let screen = Screen::new();
    let keys = Arc::new(CoreKeys::generate("hpc")?);
    let control = Control::start_at(Arc::clone(&keys), options.address(0), None).await;
    let control = Arc::new(control.doing(taken(options.address(0)))?);
    let door = options.listener(1).await?;
    let front = Front::Relay(door.local_addr().doing("a port for browsers")?.port());
    let plan = Plan { accounts: options.accounts, program: &options.bin, front, step_up: &[] };
    let house = Arc::new(House::build(&plan, &keys, &control)?);
    let _relay = Relay::start(door, house.endpoint()?);
    let mut story = Story::new(screen, &keys, &control);

    let play = async {
        if options.check { tell(&mut story, &house).await } else { invite(&mut story, &house, &options).await }
    };
    let ended = tokio::select! {
        told = play => Some(told),
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

/// Tells the story, from the start of the provider to the summary.
async fn tell(story: &mut Story<'_>, house: &House) -> Result<(), Trouble> {
    story.open(house).await?;
    story.connect(house).await?;
    story.work(house).await?;
    story.suffer(house).await?;
    story.sum_up();
    Ok(())
}

/// Serves the pages until a signal arrives.
async fn invite(story: &mut Story<'_>, house: &Arc<House>, options: &Options) -> Result<(), Trouble> {
    let desk = options.listener(2).await?;
    story.open(house).await?;
    let pages = Pages::open(story.keys, story.control, house, desk).await?;
    let invitation =
        Invitation { ucloud: &story.control.origin(), centre: &house.origin(), desk: &pages.desk_origin() };
    invitation.show(&story.screen);
    std::future::pending().await
}
