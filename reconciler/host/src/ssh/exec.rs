//! One script, fed to a shell on an open connection, and all that it answers.

use std::time::Duration;

use russh::client::Handle;
use russh::{Channel, ChannelMsg, client};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::time::Instant;

use super::connect::Pinned;
use super::error::SshError;

/// For opening a session on a connection that may be dead without knowing it.
const OPEN: Duration = Duration::from_secs(10);

/// How long a script may take, how long it may say nothing, and how much it may say.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub deadline: Duration,
    pub silence: Duration,
    /// In bytes, for what it prints and for its errors each.
    pub output: usize,
}

/// What a script that was begun has answered.
#[derive(Debug, Default)]
pub struct Answer {
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    /// Absent where a signal ended it, or where it is not known how it ended.
    pub status: Option<u32>,
    /// Why it is not known how it ended.
    pub trouble: Option<SshError>,
}

/// Opens a session. It is not begun yet, so that trying again on another connection is harmless.
pub(super) async fn open(handle: &Handle<Pinned>, address: &str) -> Result<Channel<client::Msg>, SshError> {
    let address = address.to_owned();
    match tokio::time::timeout(OPEN, handle.channel_open_session()).await {
        Ok(Ok(channel)) => Ok(channel),
        Ok(Err(source)) => Err(SshError::Open { address, source: Box::new(source) }),
        Err(_) => Err(SshError::ConnectTimeout { address, limit: OPEN }),
    }
}

/// Runs `command` with the script on its input. From here on it may have had an effect, whatever happens.
pub(super) async fn run(
    channel: Channel<client::Msg>,
    command: &str,
    script: &SecretString,
    limits: Limits,
) -> Answer {
    let mut answer = Answer::default();
    if let Err(trouble) = talk(channel, command, script, limits, &mut answer).await {
        answer.trouble = Some(trouble);
    }
    answer
}

async fn talk(
    channel: Channel<client::Msg>,
    command: &str,
    script: &SecretString,
    limits: Limits,
    answer: &mut Answer,
) -> Result<(), SshError> {
    let deadline = Instant::now() + limits.deadline;
    channel.exec(true, command).await.map_err(|_| SshError::Lost)?;
    let (mut from, to) = channel.split();
    // Fed while its output is read: a large script would otherwise block on the channel's windows.
    let feed = async {
        to.data(script.expose_secret().as_bytes()).await?;
        to.eof().await
    };
    tokio::pin!(feed);
    let mut all_sent = false;
    let mut heard = Instant::now();
    loop {
        let patience = deadline.min(heard + limits.silence);
        tokio::select! {
            // A shell that ended early takes no more input; how it ended comes by the other way.
            _ = &mut feed, if !all_sent => { all_sent = true; heard = Instant::now(); }
            message = from.wait() => {
                heard = Instant::now();
                match message {
                    Some(message) => take(message, limits.output, answer)?,
                    // The status may come before or after the end of output: the channel's end is the end.
                    None if answer.status.is_some() => return Ok(()),
                    None => return Err(SshError::Lost),
                }
            }
            () = tokio::time::sleep_until(patience) => {
                drop(to.close().await);
                let late = Instant::now() >= deadline;
                return Err(if late { SshError::Deadline(limits.deadline) } else { SshError::Silent(limits.silence) });
            }
        }
    }
}

fn take(message: ChannelMsg, limit: usize, answer: &mut Answer) -> Result<(), SshError> {
    let (buffer, data) = match message {
        ChannelMsg::Data { data } => (&mut answer.stdout, data),
        ChannelMsg::ExtendedData { data, .. } => (&mut answer.stderr, data),
        ChannelMsg::ExitStatus { exit_status } => {
            answer.status = Some(exit_status);
            return Ok(());
        }
        ChannelMsg::Failure => return Err(SshError::Refused),
        _ => return Ok(()),
    };
    if buffer.len() + data.len() > limit {
        return Err(SshError::TooMuch(limit));
    }
    buffer.extend_from_slice(&data);
    Ok(())
}
