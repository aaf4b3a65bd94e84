//! A mail by SMTP (RFC 5321), with lettre's connection.
//!
//! The commands are given one by one, to know how far it came: until the message's own bytes are written, nobody has it; from there to
//! the server's answer to the final dot its fate is unknown (RFC 1047). The Message-ID is made of the idempotency key, so a mailbox
//! that knows it already keeps one.

use std::sync::atomic::Ordering;
use std::time::{Duration, UNIX_EPOCH};

use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message};
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::{ClientId, Extension, MailBodyParameter, MailParameter};
use zeroize::Zeroizing;

use super::{Alert, ChannelError, address, http};
use crate::config::Tls;
use crate::outcome::Outcome;
use crate::signature;

/// A way to send mails.
pub(crate) struct Mailer {
    host: String,
    port: u16,
    tls: Option<(Tls, TlsParameters)>,
    login: Option<(String, Zeroizing<String>)>,
    secrets: Vec<Zeroizing<String>>,
    from: Mailbox,
    to: Vec<Mailbox>,
    hello: ClientId,
}

impl std::fmt::Debug for Mailer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mailer")
            .field("host", &self.host)
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}

impl Mailer {
    #[allow(clippy::too_many_arguments, reason = "the configuration's own fields, once")]
    pub(super) fn new(
        action: &str,
        host: &str,
        port: u16,
        tls: Tls,
        login: Option<(String, Zeroizing<String>)>,
        from: &str,
        to: &[String],
    ) -> Result<Self, ChannelError> {
        let mailbox = |text: &str| {
            text.parse::<Mailbox>()
                .map_err(|error| address(action, format!("`{text}` is not a mail address: {error}")))
        };
        let tls = match tls {
            Tls::None => None,
            protected => {
                let _chosen = rustls::crypto::ring::default_provider().install_default();
                let parameters = TlsParameters::new(host.to_owned()).map_err(|error| ChannelError::Tls {
                    action: action.to_owned(),
                    reason: http::causes(&error),
                })?;
                Some((protected, parameters))
            }
        };
        let from = mailbox(from)?;
        Ok(Self {
            host: host.to_owned(),
            port,
            tls,
            secrets: login.iter().map(|(_, password)| password.clone()).collect(),
            login,
            hello: ClientId::Domain(from.email.domain().to_owned()),
            from,
            to: to.iter().map(|address| mailbox(address)).collect::<Result<_, _>>()?,
        })
    }

    pub(super) fn secrets(&self) -> &[Zeroizing<String>] {
        &self.secrets
    }

    /// One attempt.
    pub(super) async fn send(&self, alert: &Alert<'_>) -> Outcome {
        let message = match self.message(alert) {
            Ok(message) => message,
            Err(reason) => return Outcome::Refused { reason },
        };
        let mut connection = match self.connect().await {
            Ok(connection) => connection,
            Err(error) => return outcome(&error, false),
        };
        let outcome = match self.transact(&mut connection, &message, alert).await {
            Ok(reference) => Outcome::Accepted { reference },
            Err((error, written)) => outcome(&error, written),
        };
        // It is decided; the goodbye is a courtesy that must not hold anybody up.
        let _said = tokio::time::timeout(Duration::from_secs(1), connection.abort()).await;
        outcome
    }

    async fn connect(&self) -> Result<AsyncSmtpConnection, lettre::transport::smtp::Error> {
        let server = (self.host.trim_start_matches('[').trim_end_matches(']'), self.port);
        let wrapped = match &self.tls {
            Some((Tls::Implicit, parameters)) => Some(parameters.clone()),
            _ => None,
        };
        let mut connection = AsyncSmtpConnection::connect_tokio1(server, None, &self.hello, wrapped, None).await?;
        if let Some((Tls::Starttls, parameters)) = &self.tls {
            connection.starttls(parameters.clone(), &self.hello).await?;
        }
        if let Some((user, password)) = &self.login {
            let credentials = Credentials::new(user.clone(), password.as_str().to_owned());
            connection.auth(DEFAULT_MECHANISMS, &credentials).await?;
        }
        Ok(connection)
    }

    /// Hands the message over; an error says whether its bytes had been written.
    async fn transact(
        &self,
        connection: &mut AsyncSmtpConnection,
        message: &[u8],
        alert: &Alert<'_>,
    ) -> Result<String, (lettre::transport::smtp::Error, bool)> {
        let info = connection.server_info();
        let mut options = Vec::new();
        if info.supports_feature(Extension::EightBitMime) && !message.is_ascii() {
            options.push(MailParameter::Body(MailBodyParameter::EightBitMime));
        }
        let before = |error| (error, false);
        let from = Mail::new(Some(self.from.email.clone()), options);
        connection.command(from).await.map_err(before)?;
        // One recipient that is refused refuses the mail: nobody has it then, and a repetition doubles nothing.
        for to in &self.to {
            let recipient = Rcpt::new(to.email.clone(), Vec::new());
            connection.command(recipient).await.map_err(before)?;
        }
        connection.command(Data).await.map_err(before)?;
        alert.handed_over.store(true, Ordering::Release);
        let response = connection.message(message).await.map_err(|error| (error, true))?;
        Ok(response.first_line().unwrap_or_default().chars().take(100).collect())
    }

    /// The mail, the same for every attempt but for its note.
    fn message(&self, alert: &Alert<'_>) -> Result<Vec<u8>, String> {
        let key = HeaderName::new_from_ascii_str(signature::IDEMPOTENCY_HEADER);
        let mut builder = Message::builder()
            .from(self.from.clone())
            .subject(alert.words.subject.clone())
            .date(UNIX_EPOCH + Duration::from_millis(alert.now_ms))
            .message_id(Some(format!("<{}@{}>", alert.key, self.from.email.domain())))
            .raw_header(HeaderValue::new(key, alert.key.to_owned()))
            // RFC 3834: no answer from a machine, please.
            .raw_header(HeaderValue::new(
                HeaderName::new_from_ascii_str("Auto-Submitted"),
                "auto-generated".to_owned(),
            ))
            .header(ContentType::TEXT_PLAIN);
        for to in &self.to {
            builder = builder.to(to.clone());
        }
        builder
            .body(super::noted(alert, crate::escape::Format::Plain, &alert.words.text))
            .map(|message| message.formatted())
            .map_err(|error| format!("the mail cannot be made: {error}"))
    }
}

/// What an error of SMTP means: a 4xx may be taken another time, a 5xx will not; what breaks off after the message was written, nobody
/// knows.
fn outcome(error: &lettre::transport::smtp::Error, written: bool) -> Outcome {
    let reason = http::causes(error);
    if error.is_permanent() {
        Outcome::Refused { reason }
    } else if error.is_transient() || !written {
        // A client error before anything was written is a server that offers no STARTTLS or no login: it may be mended.
        Outcome::not_taken(reason)
    } else {
        Outcome::Unknown { reason }
    }
}
