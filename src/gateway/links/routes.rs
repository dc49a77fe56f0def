//! Where requests for public links go: asked of the server, and kept in memory for some seconds.
//!
//! A route names a user and a job. It is no authority: the user's instance passes a request on only
//! if its own record says that this job is public under this name.

use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use countersign_config::LinkHosts;
use countersign_ipc::gateway_protocol::LinkTarget;
use countersign_ipc::web_connections::WebConnections;
use countersign_keys::identity::{CoreJobId, LinkName, Username};
use countersign_os::limits::{Counted, RateLimiter};
use lru::LruCache;
use tokio::time::Instant;

use crate::limits;
use crate::server_link::key_cache::{KeyCache, KeyCacheFailure};
use crate::web::body::SentBody;

/// Routes in memory, some hundred bytes each.
const ROUTES_MAX: NonZeroUsize = NonZeroUsize::new(4_096).unwrap();

/// How long a route is not asked for again. A job that ends is refused by its instance sooner.
const FRESH_FOR: Duration = Duration::from_secs(10);

/// The way to the owner's instance, for requests of one link while one job has it.
#[derive(Debug)]
pub(crate) struct LinkRoute {
    name: LinkName,
    target: LinkTarget,
    connections: WebConnections<SentBody>,
}

impl LinkRoute {
    pub(crate) const fn name(&self) -> &LinkName {
        &self.name
    }

    /// The link's owner.
    pub(crate) const fn username(&self) -> &Username {
        &self.target.username
    }

    pub(crate) const fn job(&self) -> &CoreJobId {
        &self.target.job
    }

    /// Connections to the instance, closed when the route ends.
    pub(crate) const fn connections(&self) -> &WebConnections<SentBody> {
        &self.connections
    }
}

struct Kept {
    route: Arc<LinkRoute>,
    asked: Instant,
    /// What had ended by then ([`KeyCache::epoch`]).
    epoch: u64,
}

/// The public links of this site, and the limits on what strangers may do through them.
pub(crate) struct Links {
    /// `None` if there are none.
    pub(crate) hosts: Option<LinkHosts>,
    /// A route that is evicted is asked for again.
    routes: Mutex<LruCache<LinkName, Kept>>,
    /// Requests in flight, by the link's owner.
    pub(crate) requests: Arc<Counted<Username>>,
    /// Sockets, by the link's owner.
    pub(crate) sockets: Arc<Counted<Username>>,
    /// Limits requests by address.
    pub(crate) rate: RateLimiter<IpAddr>,
}

impl Links {
    pub(crate) fn at(hosts: Option<LinkHosts>) -> Self {
        Self {
            hosts,
            routes: Mutex::new(LruCache::new(ROUTES_MAX)),
            requests: limits::web_requests(),
            sockets: limits::of_each_user(),
            rate: limits::link_requests(),
        }
    }

    /// The route of a link; `None` if no running job has it. Whatever ended meanwhile is asked for
    /// again.
    pub(crate) async fn route(
        &self,
        name: &LinkName,
        key_cache: &KeyCache,
    ) -> Result<Option<Arc<LinkRoute>>, KeyCacheFailure> {
        let epoch = key_cache.epoch();
        let is_fresh = |kept: &&Kept| kept.epoch == epoch && kept.asked.elapsed() < FRESH_FOR;
        if let Some(kept) = self.routes().get(name).filter(is_fresh) {
            return Ok(Some(Arc::clone(&kept.route)));
        }
        let target = key_cache.link(name).await?;
        let mut routes = self.routes();
        let known = routes.pop(name).map(|kept| kept.route);
        let route = match (known, target) {
            (Some(known), Some(target)) if known.target == target && !known.connections.is_closed() => known,
            (known, target) => {
                if let Some(gone) = known {
                    gone.connections.close();
                }
                let Some(target) = target else { return Ok(None) };
                Arc::new(LinkRoute { name: name.clone(), target, connections: WebConnections::default() })
            }
        };
        let kept = Kept { route: Arc::clone(&route), asked: Instant::now(), epoch };
        if let Some((_, evicted)) = routes.push(name.clone(), kept) {
            evicted.route.connections.close();
        }
        Ok(Some(route))
    }

    /// Ends a route and its open sockets: the instance says that it leads nowhere.
    pub(crate) fn end(&self, route: &Arc<LinkRoute>) {
        route.connections.close();
        let mut routes = self.routes();
        if routes.peek(&route.name).is_some_and(|kept| Arc::ptr_eq(&kept.route, route)) {
            routes.pop(&route.name);
        }
    }

    fn routes(&self) -> MutexGuard<'_, LruCache<LinkName, Kept>> {
        self.routes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
