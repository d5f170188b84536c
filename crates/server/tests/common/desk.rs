//! A desk: somebody's cookie, and the pages they read.

use axum::{Router, http::{Method, header}};
use countersign_core::id::{AgentId, CallId};

use super::{
    World,
    pages::{self, FORM, Page, form, own, send},
    people,
    phone::Phone,
};

/// Somebody at the desk, signed in.
#[derive(Clone)]
pub struct Desk {
    pub router: Router,
    pub name: String,
    pub id: AgentId,
    /// `cs_desk=…`.
    pub cookie: String,
    /// The call they look at.
    pub call: CallId,
}

impl Desk {
    /// Through the sign-in page, as everybody.
    pub async fn sign_in(world: &World, name: &str) -> Self {
        let (password, code) = (people::password(name), world.agent_code(name));
        let fields = [("name", name), ("password", password.expose()), ("code", code.expose())];
        let page = pages::post(&world.router, "/desk/sign-in", None, &fields).await;
        page.is(303);
        assert_eq!(page.header("location"), "/desk");
        Self { router: world.router.clone(), name: name.into(), id: world.agent_id(name), cookie: page.cookie(), call: CallId([0; 16]) }
    }

    /// The same desk, served by another server.
    pub fn at(mut self, world: &World) -> Self {
        self.router = world.router.clone();
        self
    }

    pub async fn get(&self, path: &str) -> Page { pages::get(&self.router, path, Some(&self.cookie)).await }
    pub async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Page { pages::post(&self.router, path, Some(&self.cookie), fields).await }

    /// The whole page.
    pub async fn page(&self) -> Page { self.get(&format!("/desk/call/{}", self.call)).await }

    /// The call's panel.
    pub async fn panel(&self) -> Page { self.get(&format!("/desk/call/{}/panel", self.call)).await }

    /// The queue.
    pub async fn queue(&self) -> Page { self.get("/desk/list").await }

    /// One command, as htmx sends it.
    pub async fn act(&self, verb: &str, fields: &[(&str, &str)]) -> Page { self.act_on(self.call, verb, fields).await }

    pub async fn act_on(&self, call: CallId, verb: &str, fields: &[(&str, &str)]) -> Page {
        let path = format!("/desk/call/{call}/{verb}");
        let mut request = own(Method::POST, &path, Some(&self.cookie), FORM, form(fields));
        request.headers_mut().insert("hx-request", header::HeaderValue::from_static("true"));
        send(&self.router, request).await
    }

    /// Takes a call, and the caller is put through.
    pub async fn take(&mut self, phone: &mut Phone) -> Page {
        self.call = phone.id;
        let page = self.act("accept", &[]).await;
        page.ok();
        phone.listen().await.is_bridged();
        page
    }

    pub async fn heard(&self, what: &str, value: &str) -> Page { self.act("heard", &[("what", what), ("value", value)]).await }
    pub async fn reveal(&self, field: &str) -> Page { self.act("reveal", &[("field", field)]).await }
    pub async fn request(&self, action: &str) -> Page { self.act("request", &[("action", action)]).await }
    pub async fn prove(&self, factors: &str, action: &str) -> Page { self.act("prove", &[("factors", factors), ("action", action)]).await }
    pub async fn word(&self, word: &str) -> Page { self.act("word", &[("word", word)]).await }
    pub async fn hand_over(&self, queue: &str) -> Page { self.act("hand-over", &[("queue", queue)]).await }
    pub async fn end(&self) -> Page { self.act("end", &[]).await }

    pub async fn perform(&self, action: &str, fields: &[(&str, &str)]) -> Page {
        let mut all = vec![("action", action)];
        all.extend(fields);
        self.act("perform", &all).await
    }

    pub async fn change_phone(&self, to: &str) -> Page { self.perform("change:phone", &[("value", to)]).await }
}

impl Page {
    /// The code that the agent reads out.
    #[track_caller]
    pub fn given(&self) -> String {
        let (_, rest) = self.body.split_once("Code to read out: </span>").unwrap_or_else(|| panic!("no code to read out: {}", self.body));
        rest.split('<').next().unwrap().chars().filter(|c| !c.is_whitespace()).collect()
    }

    /// The level that a panel shows.
    #[track_caller]
    pub fn level(&self) -> &str {
        let (_, rest) = self.body.split_once("data-level=\"").unwrap_or_else(|| panic!("no panel: {}", self.body));
        rest.split('"').next().unwrap()
    }
}
