//! A customer in the portal, come from the company's own signed-in site.

use axum::Router;
use serde_json::json;

use super::{
    World,
    pages::{self, Page},
    people::LIAM_WORD,
};

/// A signed-in customer.
#[derive(Clone)]
pub struct Portal {
    pub router: Router,
    /// `cs_me=…`.
    pub cookie: String,
}

impl Portal {
    /// The path of a link that opens the portal once.
    pub async fn link(world: &World, account_number: &str) -> String {
        let page = pages::api(&world.router, "/api/v1/portal-sessions", world.house().api_key, &json!({ "account_number": account_number })).await;
        page.is(201);
        let answer: serde_json::Value = serde_json::from_str(&page.body).unwrap();
        answer["url"].as_str().unwrap().strip_prefix(world.house().url).unwrap().to_owned()
    }

    pub async fn enter(world: &World, account_number: &str) -> Self {
        let page = pages::get(&world.router, &Self::link(world, account_number).await, None).await;
        // A page that moves on by itself: a redirect would still be the other site's doing.
        page.ok().shows("content=\"0;url=/me\"");
        Self { router: world.router.clone(), cookie: page.cookie() }
    }

    /// The same, who has confirmed with what is on file that it is them.
    pub async fn confirmed(world: &World, account_number: &str) -> Self {
        let portal = Self::enter(world, account_number).await;
        let (kind, entry) = match account_number {
            "10004711" => ("pin", "4071"),
            "10004712" => ("verbal_password", LIAM_WORD),
            "10004713" => ("pin", "8264"),
            "10004714" => ("pin", "5093"),
            "10004716" => ("pin", "7318"),
            other => panic!("{other} has nothing to confirm with"),
        };
        assert_eq!(portal.confirm(kind, entry).await, "confirmed");
        portal
    }
    /// Confirms with something typed. What came of it, in a word.
    pub async fn confirm(&self, kind: &str, entry: &str) -> String {
        let page = self.post("/me/security/confirm", &[("kind", kind), ("entry", entry)]).await;
        page.is(303);
        page.header("location").strip_prefix("/me/security?say=").unwrap_or_else(|| panic!("{}", page.header("location"))).to_owned()
    }

    pub async fn get(&self, path: &str) -> Page { pages::get(&self.router, path, Some(&self.cookie)).await }
    pub async fn home(&self) -> Page { self.get("/me").await }
    pub async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Page { pages::post(&self.router, path, Some(&self.cookie), fields).await }

    /// The request for approval that the page shows, if it shows one.
    pub async fn asked(&self) -> Option<String> {
        let page = self.get("/me/live").await;
        page.ok();
        let (_, rest) = page.body.split_once("action=\"/me/approvals/")?;
        rest.split('/').next().map(str::to_owned)
    }

    /// Answers a request: `type`, `decline` or `not-me`. What came of it, in a word.
    pub async fn answer(&self, challenge: &str, how: &str, code: &str) -> String {
        let page = self.post(&format!("/me/approvals/{challenge}/{how}"), &[("code", code)]).await;
        page.is(303);
        page.header("location").strip_prefix("/me?done=").unwrap_or_else(|| panic!("{}", page.header("location"))).to_owned()
    }

    /// Types a code that was given on a call, and says that the call is theirs.
    pub async fn links(&self, code: &str) -> Page {
        let page = self.post("/me/code", &[("code", code)]).await;
        if page.status != 200 {
            return page;
        }
        page.shows("Yes, it is me");
        self.post("/me/code/confirm", &[("code", code), ("answer", "yes")]).await
    }

    /// The code on the page.
    pub async fn code(&self) -> String {
        let page = self.get("/me/service-code").await;
        page.ok();
        let (_, rest) = page.body.split_once("Your code for the phone: </span>").unwrap();
        rest.split('<').next().unwrap().chars().filter(char::is_ascii_digit).collect()
    }
}
