//! Hears what other nodes changed.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_postgres::AsyncMessage;

use super::link::{PATIENCE, connect};
use super::server::Server;
use super::write::heard;
use crate::board::Board;

/// How long a silent connection is believed in.
const SILENCE: Duration = Duration::from_secs(10);
/// How long to wait before the next try to connect.
const PAUSE: Duration = Duration::from_millis(500);

/// Passes on what is heard until the task is aborted.
pub(super) async fn run(server: Server, board: Board) {
    let mut first = true;
    loop {
        if let Err(why) = listen(&server, &board, !std::mem::take(&mut first)).await {
            tracing::warn!(why, "other nodes are not heard; looking at the database again");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn listen(server: &Server, board: &Board, again: bool) -> Result<(), String> {
    let (tell, mut told) = mpsc::unbounded_channel();
    let (client, driver) = connect(server, true, move |message| {
        if let AsyncMessage::Notification(notification) = message {
            // The other end goes with this connection.
            let _ = tell.send(notification.payload().to_owned());
        }
    })
    .await?;
    let _ends = super::Ends(driver);
    let listen = format!("LISTEN \"{}\"", server.channel());
    let ask = |text: &str| {
        let text = text.to_owned();
        let client = &client;
        async move {
            match timeout(PATIENCE, client.batch_execute(&text)).await {
                Ok(answered) => answered.map_err(|error| super::link::describe(&error)),
                Err(_) => Err("no answer".to_owned()),
            }
        }
    };
    ask(&listen).await?;
    if again {
        // What was told between the two connections was told to nobody.
        board.missed();
    }
    loop {
        match timeout(SILENCE, told.recv()).await {
            Ok(Some(text)) => {
                if let Some((node, notes)) = heard(&text) {
                    board.pass_on(node, notes.into_iter());
                }
            }
            Ok(None) => return Err("the connection has ended".to_owned()),
            // Silent, or cut off? A connection that only listens would never know.
            Err(_) => ask("").await?,
        }
    }
}
