//! Several companies behind one front, and a desk that takes the calls of all of them.

use std::sync::Arc;

use axum::{Router, extract::Request, http::{HeaderValue, header}};
use countersign_core::action::Role;
use countersign_server::{
    agents::Agents,
    tenants::{Tenant, front},
};
use tower::ServiceExt;

use super::{House, Setup, World, desk::Desk, openid, people};

pub const MAPLE: House = House {
    company: "Maple Telecom", url: "https://calls.maple.example", token: "another-token-that-signs-webhooks", api_key: "a-key-of-maple-s-own-program",
    master: *b"another thirty-two bytes of keys",
};
pub const NORTHDESK: House = House {
    company: "Northdesk", url: "https://desk.example.net", token: "a-token-that-the-desk-has-no-use-for", api_key: "a-key-that-the-desk-has-no-use-for",
    master: *b"thirty-two bytes of the desk own",
};

/// What stands on every page that shows a customer of Maple, and on none of another company.
pub const MARK: &str = "Maplewood";

/// Two companies with the very same people on file, and the desk that serves both.
pub struct Street {
    pub desk: World,
    pub juniper: World,
    pub maple: World,
    /// All of them, by host.
    pub front: Router,
    /// What the tenants know of the desk's people.
    shared: Arc<Agents>,
}

impl Street {
    pub async fn new() -> Self {
        let World { ground, app, .. } = World::with(Setup { house: NORTHDESK, people: false, openid: Vec::new(), ..Setup::default() }).await;
        let shared = app.agents.clone();
        let mut juniper = World::with(Setup { beside: Some((shared.clone(), "juniper")), ..Setup::default() }).await;
        let programs = openid::everybody().into_iter().map(|mut program| {
            program.id = format!("maple-{}", program.id);
            program
        });
        let mut maple = World::with(Setup { house: MAPLE, beside: Some((shared.clone(), "maple")), openid: programs.collect(), ..Setup::default() }).await;
        // The same people, known to Maple under a name and an address that Juniper does not have.
        for account in people::everybody(maple.now()).iter().map(|profile| profile.id) {
            maple.edit(account, |profile| {
                profile.name = format!("{} {MARK}", profile.name.expose()).as_str().into();
                profile.address = format!("7 {MARK} Square").as_str().into();
                people::rehash(profile, &maple.app.runner.vault.pepper);
            }).await;
        }
        let mut ground = Arc::into_inner(ground).unwrap();
        ground.setup.tenants = vec![
            Tenant { name: "juniper".into(), app: juniper.app.clone() },
            Tenant { name: "maple".into(), app: maple.app.clone() },
        ];
        let mut desk = World::node(Arc::new(ground)).await;
        let front = front(vec![desk.app.clone(), juniper.app.clone(), maple.app.clone()]).unwrap();
        for world in [&mut desk, &mut juniper, &mut maple] {
            world.router = at(&front, world.house().url);
        }
        Self { desk, juniper, maple, front, shared }
    }

    /// Somebody at the shared desk, who serves these companies.
    pub async fn agent(&self, name: &str, serves: &[(&str, Role)]) -> Desk {
        let desk = self.desk.agent(name, Role::Agent).await;
        for (tenant, role) in serves {
            self.desk.app.agents.assign(name, tenant, Some(*role)).await.unwrap();
        }
        self.shared.refresh().await.unwrap();
        desk
    }
}

/// The front as somebody reaches it who asks for this address.
pub fn at(front: &Router, url: &str) -> Router {
    let (front, host) = (front.clone(), HeaderValue::from_str(url.strip_prefix("https://").unwrap()).unwrap());
    Router::new().fallback(move |mut request: Request| {
        let (front, host) = (front.clone(), host.clone());
        async move {
            request.headers_mut().insert(header::HOST, host);
            front.oneshot(request).await.unwrap()
        }
    })
}
