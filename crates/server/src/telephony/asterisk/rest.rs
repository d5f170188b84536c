//! Orders: requests, with our name and password in the header.

use countersign_core::secret::Secret;
use reqwest::{Client, Method, StatusCode, Url};

use crate::telephony::switch::SwitchError;

/// The most that is read of an answer: the channels of the application.
const LARGEST_ANSWER: usize = 4 << 20;

/// Asterisk's REST interface.
pub struct Rest {
    /// What sends.
    pub client: Client,
    /// Its HTTP server.
    pub url: Url,
    /// Our name there.
    pub user: String,
    /// And our password.
    pub password: Secret,
}

impl Rest {
    /// An address of the interface.
    pub fn at(&self, path: &[&str], query: &[(&str, &str)]) -> Url {
        let mut url = self.url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push("ari").extend(path);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }

    /// One request, and its answer.
    ///
    /// # Errors
    /// See [`SwitchError`].
    pub async fn ask(&self, method: Method, path: &[&str], query: &[(&str, &str)]) -> Result<Vec<u8>, SwitchError> {
        let failed = |text: &str| SwitchError::Failed(text.into());
        let request = self.client.request(method, self.at(path, query)).basic_auth(&self.user, Some(self.password.expose()));
        let mut answer = request.send().await.map_err(|_| failed("no answer"))?;
        match answer.status() {
            status if status.is_success() => {}
            StatusCode::NOT_FOUND => return Err(SwitchError::Gone),
            status => return Err(SwitchError::Failed(format!("status {}", status.as_u16()))),
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|_| failed("half an answer"))? {
            if body.len() + chunk.len() > LARGEST_ANSWER {
                return Err(failed("a long answer"));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    /// An order.
    ///
    /// # Errors
    /// See [`SwitchError`].
    pub async fn post(&self, path: &[&str], query: &[(&str, &str)]) -> Result<(), SwitchError> { self.ask(Method::POST, path, query).await.map(drop) }

    /// Has something end.
    ///
    /// # Errors
    /// See [`SwitchError`].
    pub async fn delete(&self, path: &[&str]) -> Result<(), SwitchError> { self.ask(Method::DELETE, path, &[]).await.map(drop) }
}
