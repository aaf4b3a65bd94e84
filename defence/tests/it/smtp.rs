//! A mail server: RFC 5321 with AUTH PLAIN (RFC 4954), as far as an alert meets it.

use std::sync::Arc;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::servers::{Desk, Fate};

/// Serves on a free port; gives it.
pub(crate) async fn serve(desk: Arc<Desk>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    serve_on(listener, desk);
    port
}

pub(crate) fn serve_on(listener: TcpListener, desk: Arc<Desk>) {
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let desk = Arc::clone(&desk);
            tokio::spawn(async move {
                // A client that leaves in the middle is nothing to tell of.
                let _gone = converse(stream, &desk).await;
            });
        }
    });
}

async fn converse(stream: TcpStream, desk: &Desk) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    stream.write_all(b"220 mx.example.org ESMTP\r\n").await?;
    let (mut from, mut to, mut login) = (None, Vec::new(), false);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        if !line.ends_with("\r\n") {
            desk.fault("a line without CRLF");
        }
        let command = line.trim_end();
        let verb = command
            .split([' ', ':'])
            .next()
            .unwrap_or_default()
            .to_ascii_uppercase();
        let answer: &str = match verb.as_str() {
            "EHLO" => "250-mx.example.org\r\n250-8BITMIME\r\n250 AUTH PLAIN",
            "AUTH" => {
                // "\0user\0s3cret-password" in base64.
                login = command == "AUTH PLAIN AHVzZXIAczNjcmV0LXBhc3N3b3Jk";
                if login {
                    "235 2.7.0 welcome"
                } else {
                    "535 5.7.8 bad credentials"
                }
            }
            "MAIL" if !login => "530 5.7.0 authentication required",
            "MAIL" => {
                from = Some(command.to_owned());
                "250 2.1.0 ok"
            }
            "RCPT" if from.is_none() => "503 5.5.1 MAIL first",
            "RCPT" if command.contains("nobody@") => "550 5.1.1 no such mailbox",
            "RCPT" => {
                to.push(command.to_owned());
                "250 2.1.5 ok"
            }
            "DATA" if to.is_empty() => "503 5.5.1 RCPT first",
            "DATA" => {
                stream.write_all(b"354 go on\r\n").await?;
                let message = message(&mut stream).await?;
                let Some(answer) = take(desk, &message).await else {
                    return std::future::pending().await;
                };
                answer
            }
            "NOOP" | "RSET" => "250 2.0.0 ok",
            "QUIT" => {
                stream.write_all(b"221 2.0.0 bye\r\n").await?;
                return Ok(());
            }
            _ => "500 5.5.2 unknown",
        };
        stream.write_all(format!("{answer}\r\n").as_bytes()).await?;
    }
}

/// The lines up to the final dot, undone of dot stuffing.
async fn message(stream: &mut BufReader<TcpStream>) -> std::io::Result<String> {
    let mut message = String::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        if line == ".\r\n" {
            return Ok(message);
        }
        message.push_str(line.strip_prefix('.').unwrap_or(&line));
    }
}

/// What is answered to the message; `None` is nothing, ever.
async fn take(desk: &Desk, message: &str) -> Option<&'static str> {
    let header = |name: &str| {
        message
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .map(|value| value.trim().to_owned())
    };
    let id = header("Message-ID:");
    if id.is_none() || header("Date:").is_none() || header("From:").is_none() || header("X-Idempotency-Key:").is_none()
    {
        desk.fault(format!("a header is missing in:\n{message}"));
    }
    let arrive = || desk.arrive(message, id.clone());
    match desk.next() {
        Fate::Take => {
            arrive();
            Some("250 2.0.0 queued as 4711")
        }
        Fate::Busy => Some("451 4.7.1 too many mails, try again later"),
        Fate::Break => Some("451 4.3.0 local error"),
        Fate::Ignore => None,
        Fate::TakeInSilence => {
            arrive();
            None
        }
    }
}
