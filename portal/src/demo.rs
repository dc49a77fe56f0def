//! The demo, in two parts. With `--check` the story: a real provider, two users, some honest work,
//! and what a taken-over Core and a bad neighbour try; every line is something that has just
//! happened. Without it the pages: the same provider with nobody connected yet, for a person with a
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

/// How the demo is played.
#[derive(Args)]
pub(crate) struct Options {
    /// The program `countersign`.
    #[arg(long)]
    bin: PathBuf,
    /// Whose account the users' instances run in.
    #[arg(long, value_enum)]
    accounts: Accounts,
    /// Play the story and end, with status 0 only if everything came out as it must. Without it:
    /// serve the pages.
    #[arg(long)]
    check: bool,
    /// Serve UCloud's page at this port, the computing centre at the next, its terminal at the one
    /// after. Without it: three free ports.
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

/// Plays it.
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

/// The story, from the start to the sum.
async fn tell(story: &mut Story<'_>, house: &House) -> Result<(), Trouble> {
    story.open(house).await?;
    story.connect(house).await?;
    story.work(house).await?;
    story.suffer(house).await?;
    story.sum_up();
    Ok(())
}

/// The pages, until somebody ends it.
async fn invite(story: &mut Story<'_>, house: &Arc<House>, options: &Options) -> Result<(), Trouble> {
    let desk = options.listener(2).await?;
    story.open(house).await?;
    let pages = Pages::open(story.keys, story.control, house, desk).await?;
    let invitation =
        Invitation { ucloud: &story.control.origin(), centre: &house.origin(), desk: &pages.desk_origin() };
    invitation.show(&story.screen);
    std::future::pending().await
}
