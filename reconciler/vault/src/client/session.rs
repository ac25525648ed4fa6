//! The session: one token for the whole process, renewed before it ends and revoked at the end.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use holdfast_core::kind::TargetError;
use holdfast_core::scrub::Scrubber;
use reqwest::Url;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::Mutex;
use tokio::task::AbortHandle;
use tokio::time::Instant;
use vaultrs::api::AuthInfo;
use vaultrs::client::{Client as _, VaultClient};

use super::{Ask, over_vaultrs, send};
use crate::{Auth, SettingsError};

const RENEWING: &str = "renewing the token of Holdfast in vault";
const REVOKING: &str = "revoking the token of Holdfast in vault";
const LOOKING_UP: &str = "looking up the token of Holdfast in vault";
const LOGGING_IN: &str = "logging in to vault by AppRole";
/// After a renewal that failed for a reason that may pass.
const RENEW_AGAIN: Duration = Duration::from_secs(10);

/// So seldom does a token that Vault does not know lead to a login, if the last one did not help.
const FUTILE_FOR: Duration = Duration::from_mins(1);

/// Who Holdfast is, and the token by which Vault knows it.
pub(super) struct Session {
    auth: Auth,
    http: reqwest::Client,
    address: Url,
    state: Mutex<State>,
    scrubber: OnceLock<Scrubber>,
}

#[derive(Default)]
struct State {
    token: Option<Arc<Token>>,
    logins: u64,
    /// The last login that failed, so that those who waited for it do not repeat it one by one.
    failed: Option<(Instant, TargetError)>,
    /// When a new token did not help against a 403 that looked like a dead token's.
    futile: Option<Instant>,
    keeper: Option<AbortHandle>,
    closed: bool,
}

/// A token that was valid when it was got.
pub(super) struct Token {
    secret: SecretString,
    login: u64,
    policies: Option<BTreeSet<String>>,
    lease: Option<Lease>,
}

/// Until when a token lives. Tokens without a lease live until somebody revokes them.
#[derive(Clone, Copy)]
struct Lease {
    renew_at: Option<Instant>,
    expires: Instant,
    /// The TTL that it had at first: what renewals shrink from as the maximum comes near.
    first: Duration,
}

impl Lease {
    fn new(ttl: Duration, first: Duration, renewable: bool) -> Self {
        let now = Instant::now();
        let worth_it = renewable && ttl >= first / 3;
        Self { renew_at: worth_it.then(|| now + ttl * 2 / 3), expires: now + ttl, first }
    }

    fn read(seconds: u64, renewable: bool) -> Option<Self> {
        let ttl = Duration::from_secs(seconds);
        (seconds > 0).then(|| Self::new(ttl, ttl, renewable))
    }
}

impl Token {
    pub(super) fn secret(&self) -> &SecretString {
        &self.secret
    }

    pub(super) fn policies(&self) -> Option<&BTreeSet<String>> {
        self.policies.as_ref()
    }

    fn expired(&self) -> bool {
        self.lease.is_some_and(|lease| Instant::now() >= lease.expires)
    }
}

impl Session {
    pub(super) fn new(auth: Auth, http: reqwest::Client, address: Url) -> Result<Self, SettingsError> {
        let auth = match auth {
            Auth::Token(token) => Auth::Token(credential("token", &token)?),
            Auth::AppRole { role_id, secret_id } => Auth::AppRole {
                role_id: credential("role id", &SecretString::from(role_id))?.expose_secret().to_owned(),
                secret_id: credential("secret id", &secret_id)?,
            },
        };
        Ok(Self { auth, http, address, state: Mutex::default(), scrubber: OnceLock::new() })
    }

    pub(super) fn teach(&self, scrubber: Scrubber) {
        // The first one stays, as the caller was told.
        drop(self.scrubber.set(scrubber));
    }

    /// The token to use now. The first to ask logs in; who asks meanwhile waits for that one login.
    pub(super) async fn token(self: &Arc<Self>, doing: &str) -> Result<Arc<Token>, TargetError> {
        let asked = Instant::now();
        let mut state = self.state.lock().await;
        if let Some(token) = state.token.as_ref().filter(|token| !token.expired()) {
            return Ok(Arc::clone(token));
        }
        self.log_in(&mut state, asked, doing).await
    }

    /// Another token in the place of one that Vault does not know any more, or `None` where there is none to
    /// be had. However many find the same token dead, one login follows.
    pub(super) async fn replace(
        self: &Arc<Self>,
        dead: &Token,
        doing: &str,
    ) -> Result<Option<Arc<Token>>, TargetError> {
        let asked = Instant::now();
        let mut state = self.state.lock().await;
        if let Some(token) = state.token.as_ref().filter(|token| token.login != dead.login) {
            return Ok(Some(Arc::clone(token)));
        }
        if state.futile.is_some_and(|at| at.elapsed() < FUTILE_FOR) {
            return Ok(None);
        }
        if matches!(self.auth, Auth::Token(_)) {
            return Err(dead_token(doing));
        }
        tracing::info!("vault does not know the token any more");
        self.log_in(&mut state, asked, doing).await.map(Some)
    }

    /// A new token was refused like the old one: for a while, such an answer leads to no login.
    pub(super) async fn replacing_is_futile(&self) {
        self.state.lock().await.futile = Some(Instant::now());
    }

    async fn log_in(
        self: &Arc<Self>,
        state: &mut State,
        asked: Instant,
        doing: &str,
    ) -> Result<Arc<Token>, TargetError> {
        if state.closed {
            return Err(TargetError::unavailable(doing, "the connection to vault is closed"));
        }
        if let Some((_, error)) = state.failed.as_ref().filter(|(at, _)| *at >= asked) {
            return Err(error.clone());
        }
        state.token = None;
        let login = state.logins + 1;
        let result = match &self.auth {
            Auth::Token(secret) => self.look_up(secret, login).await,
            Auth::AppRole { role_id, secret_id } => self.log_in_as(role_id, secret_id, login).await,
        };
        let token = match result {
            Ok(token) => Arc::new(token),
            Err(error) => {
                state.failed = Some((Instant::now(), error.clone()));
                return Err(error);
            }
        };
        if let Some(scrubber) = self.scrubber.get() {
            scrubber.learn(&token.secret);
        }
        tracing::info!(login, "logged in to vault");
        state.logins = login;
        state.token = Some(Arc::clone(&token));
        if let Some(old) = state.keeper.take() {
            old.abort();
        }
        if token.lease.is_some_and(|lease| lease.renew_at.is_some()) {
            state.keeper = Some(tokio::spawn(keep(Arc::downgrade(self))).abort_handle());
        }
        Ok(token)
    }

    async fn log_in_as(
        &self,
        role_id: &str,
        secret_id: &SecretString,
        login: u64,
    ) -> Result<Token, TargetError> {
        let client = self.vaultrs("", LOGGING_IN)?;
        let info = vaultrs::auth::approle::login(&client, "approle", role_id, secret_id.expose_secret())
            .await
            .map_err(|error| refused(over_vaultrs::words_of(LOGGING_IN, &error)))?;
        let AuthInfo { client_token, policies, lease_duration, renewable, .. } = info;
        Ok(Token {
            secret: SecretString::from(client_token),
            login,
            policies: Some(policies.into_iter().collect()),
            lease: Lease::read(lease_duration, renewable),
        })
    }

    /// What Vault says of a token that was given. One that may not look itself up is used as it is.
    async fn look_up(&self, secret: &SecretString, login: u64) -> Result<Token, TargetError> {
        let ask = Ask::get("auth/token/lookup-self", LOOKING_UP);
        let answer = send(&self.http, &self.address, &ask, secret).await?;
        if answer.says_dead_token() {
            return Err(dead_token(LOOKING_UP));
        }
        let data = answer.data();
        let lists = [&data["policies"], &data["identity_policies"]];
        let names = lists.into_iter().filter_map(|list| list.as_array()).flatten();
        let policies = names.filter_map(|name| Some(name.as_str()?.to_owned())).collect();
        let renewable = data["renewable"].as_bool().unwrap_or(false);
        match answer.status {
            200 => Ok(Token {
                secret: secret.clone(),
                login,
                policies: Some(policies),
                lease: Lease::read(data["ttl"].as_u64().unwrap_or(0), renewable),
            }),
            403 => Ok(Token { secret: secret.clone(), login, policies: None, lease: None }),
            _ => Err(TargetError::rejected(LOOKING_UP, answer.words())),
        }
    }

    /// Renews the token if it is time. Gives when to come again, `None` where nothing is left to renew.
    async fn renew(&self) -> Option<Instant> {
        let token = self.state.lock().await.token.clone()?;
        let lease = token.lease?;
        let due = lease.renew_at?;
        if Instant::now() < due {
            return Some(due);
        }
        let result = match self.vaultrs(token.secret.expose_secret(), RENEWING) {
            Ok(client) => client.renew(None).await.map_err(|error| over_vaultrs::words_of(RENEWING, &error)),
            Err(error) => Err(error),
        };
        let ttl = match result {
            Ok(info) => Duration::from_secs(info.lease_duration),
            Err(error) => {
                tracing::warn!(%error, "the vault token could not be renewed");
                let again = Instant::now() + RENEW_AGAIN.min(lease.first / 10);
                return (error.is_unavailable() && again < lease.expires).then_some(again);
            }
        };
        let lease = Lease::new(ttl, lease.first, true);
        if lease.renew_at.is_none() {
            tracing::info!("the vault token comes to its maximum life and is renewed no more");
        }
        let renewed = Token {
            secret: token.secret.clone(),
            login: token.login,
            policies: token.policies.clone(),
            lease: Some(lease),
        };
        let mut state = self.state.lock().await;
        if state.token.as_ref().is_some_and(|current| current.login == renewed.login) {
            state.token = Some(Arc::new(renewed));
        }
        lease.renew_at
    }

    /// Ends the session: a token that we got ourselves is revoked.
    pub(super) async fn close(&self) {
        let mut state = self.state.lock().await;
        state.closed = true;
        if let Some(keeper) = state.keeper.take() {
            keeper.abort();
        }
        let Some(token) = state.token.take() else { return };
        if matches!(self.auth, Auth::Token(_)) {
            return;
        }
        let result = match self.vaultrs(token.secret.expose_secret(), REVOKING) {
            Ok(client) => client.revoke().await.map_err(|error| over_vaultrs::words_of(REVOKING, &error)),
            Err(error) => Err(error),
        };
        match result {
            Ok(()) => tracing::info!("the vault token is revoked"),
            Err(error) => {
                tracing::warn!(%error, "the vault token could not be revoked and runs out by itself");
            }
        }
    }

    fn vaultrs(&self, token: &str, doing: &str) -> Result<VaultClient, TargetError> {
        over_vaultrs::client(&self.http, &self.address, token, doing)
    }
}

/// Renews the session's token in time, for as long as the session is there.
async fn keep(session: Weak<Session>) {
    let mut next = Instant::now();
    loop {
        tokio::time::sleep_until(next).await;
        let Some(session) = session.upgrade() else { return };
        match session.renew().await {
            Some(at) => next = at,
            None => return,
        }
    }
}

/// Trims a credential and checks that it can stand in a header: vaultrs panics on one that cannot.
fn credential(what: &'static str, text: &SecretString) -> Result<SecretString, SettingsError> {
    let trimmed = text.expose_secret().trim();
    if trimmed.is_empty() || !trimmed.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(SettingsError::Credential(what));
    }
    Ok(SecretString::from(trimmed))
}

fn dead_token(doing: &str) -> TargetError {
    TargetError::rejected(
        doing,
        "vault does not know the token: it ran out, was revoked, or is of another vault; give Holdfast a new one",
    )
}

/// A login that was refused, with what to do about it. One that was not heard is left as it is.
fn refused(error: TargetError) -> TargetError {
    match error {
        TargetError::Rejected { doing, why } => {
            let why = format!("{why}: check `role_id` and the secret id that `credential` names");
            TargetError::Rejected { doing, why }
        }
        TargetError::Unavailable { .. } => error,
    }
}
