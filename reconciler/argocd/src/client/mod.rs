//! The client: the few requests that are made of the Kubernetes API, over kube's connection.
//!
//! kube builds the requests and carries them. The answers are read here, since kube neither bounds a body
//! nor shows `Retry-After`, and stops at the first object of a list that does not fit its type.

mod answer;

use std::time::Duration;

use holdfast_core::kind::TargetError;
use http_body_util::{BodyExt as _, Limited};
use kube::api::{
    DeleteParams, GetParams, ListParams, Patch, PatchParams, Preconditions, ValidationDirective,
};
use kube::core::Request;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};

pub(crate) use answer::{Answer, one_line};

use crate::{Settings, SettingsError};

/// Under this name Holdfast owns fields.
pub(crate) const MANAGER: &str = "holdfast";

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// For a whole request with its body.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// For a page of 500 Applications, of which a large one has 100 KiB.
const BODY_LIMIT: usize = 64 * 1024 * 1024;
const PAGE: u32 = 500;
const MAX_PAGES: usize = 40;

/// A connection to one namespace of one cluster.
pub(crate) struct Client {
    kube: kube::Client,
    url: String,
    namespace: String,
}

impl Client {
    pub(crate) fn new(settings: Settings) -> Result<Self, SettingsError> {
        let Settings { url, token, ca_pem, namespace } = settings;
        let wrong = |why: &str| SettingsError::Url(why.to_owned());
        let url = url.trim().trim_end_matches('/').to_owned();
        let https = url.starts_with("https://");
        let Some(host) = url.strip_prefix("https://").or(url.strip_prefix("http://")) else {
            return Err(wrong("it is no http url"));
        };
        if host.contains(['/', '?', '#', '@']) {
            return Err(wrong("it has a user, path, query or fragment"));
        }
        let mut config = kube::Config::new(url.parse().map_err(|_| wrong("it cannot be read"))?);
        let token = token.expose_secret().trim();
        if token.is_empty() || !token.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(SettingsError::Token);
        }
        if !is_label(&namespace) {
            return Err(SettingsError::Namespace(namespace));
        }
        config.auth_info.token = Some(SecretString::from(token));
        config.default_namespace.clone_from(&namespace);
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        config.read_timeout = Some(REQUEST_TIMEOUT);
        config.write_timeout = Some(REQUEST_TIMEOUT);
        config.reset_reader_on_write = true;
        // The engine tries again; it has the budget and obeys Retry-After.
        config.default_retry = false;
        config.root_cert = match ca_pem {
            Some(pem) => Some(read_ca(&pem)?),
            // Without TLS none are needed, and a machine without system CAs could not build the client.
            None => (!https).then(Vec::new),
        };
        let kube = kube::Client::try_from(config).map_err(SettingsError::Client)?;
        Ok(Self { kube, url, namespace })
    }

    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// All Applications of the namespace, as they are: 500 in one request.
    pub(crate) async fn list(&self, doing: &str) -> Result<Vec<Value>, TargetError> {
        match self.list_once(doing).await? {
            Some(items) => Ok(items),
            // 410: the snapshot that the pages are of is gone. Once more from the start.
            None => self.list_once(doing).await?.ok_or_else(|| {
                TargetError::unavailable(doing, "the list changed faster than it could be read")
            }),
        }
    }

    async fn list_once(&self, doing: &str) -> Result<Option<Vec<Value>>, TargetError> {
        let mut items = Vec::new();
        let mut page = ListParams::default().limit(PAGE);
        for _ in 0..MAX_PAGES {
            let request = self.request().list(&page).map_err(|error| TargetError::rejected(doing, error))?;
            let mut answer = self.send(request, doing).await?;
            match answer.status {
                200 => {}
                404 => {
                    let why = format!(
                        "argo cd is not installed on {}: the cluster does not know `applications.argoproj.io`",
                        self.url
                    );
                    return Err(TargetError::rejected(doing, why));
                }
                410 => return Ok(None),
                _ => return Err(answer.error(doing)),
            }
            let Some(found) = answer.body["items"].as_array_mut() else {
                return Err(TargetError::rejected(doing, "the answer is no list"));
            };
            items.append(found);
            match answer.body["metadata"]["continue"].as_str() {
                None | Some("") => return Ok(Some(items)),
                Some(token) => page.continue_token = Some(token.to_owned()),
            }
        }
        let why = format!("there are more than {} applications", MAX_PAGES * PAGE as usize);
        Err(TargetError::rejected(doing, why))
    }

    /// One Application by its name, as it is; `None` where the server says that there is none.
    pub(crate) async fn get(&self, name: &str, doing: &str) -> Result<Option<Value>, TargetError> {
        let request = self.request().get(name, &GetParams::default());
        let answer = self.send(request.map_err(|error| TargetError::rejected(doing, error))?, doing).await?;
        match answer.status {
            200 if answer.body["metadata"]["name"] == name => Ok(Some(answer.body)),
            200 => Err(TargetError::rejected(doing, "the answer is another object")),
            // Of the API server's own word alone: a proxy that has lost its way says 404 as well.
            404 if answer.body["reason"] == "NotFound" => Ok(None),
            _ => Err(answer.error(doing)),
        }
    }

    /// Server-side apply, never with force. Unknown fields are refused by the server, which would else drop
    /// them, so that every later look would find them missing.
    pub(crate) async fn apply(&self, name: &str, object: &Value, doing: &str) -> Result<Answer, TargetError> {
        let mut params = PatchParams::apply(MANAGER);
        params.field_validation = Some(ValidationDirective::Strict);
        let request = self.request().patch(name, &params, &Patch::Apply(object));
        let request = request.map_err(|error| TargetError::rejected(doing, error))?;
        self.send(request, doing).await
    }

    /// Sets the finalizers, if the object is still the version that was seen.
    pub(crate) async fn set_finalizers(
        &self,
        name: &str,
        finalizers: &[String],
        resource_version: &str,
        doing: &str,
    ) -> Result<Answer, TargetError> {
        let patch = json!({ "metadata": { "finalizers": finalizers, "resourceVersion": resource_version } });
        let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        let request = self.request().patch(name, &params, &Patch::Merge(&patch));
        let request = request.map_err(|error| TargetError::rejected(doing, error))?;
        self.send(request, doing).await
    }

    /// Deletes the object if it is still the very one, and the very version, that was seen.
    pub(crate) async fn delete(
        &self,
        name: &str,
        uid: &str,
        resource_version: &str,
        doing: &str,
    ) -> Result<Answer, TargetError> {
        let preconditions =
            Preconditions { uid: Some(uid.to_owned()), resource_version: Some(resource_version.to_owned()) };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        let request = self.request().delete(name, &params);
        let request = request.map_err(|error| TargetError::rejected(doing, error))?;
        self.send(request, doing).await
    }

    fn request(&self) -> Request {
        Request::new(format!("/apis/argoproj.io/v1alpha1/namespaces/{}/applications", self.namespace))
    }

    async fn send(&self, request: http::Request<Vec<u8>>, doing: &str) -> Result<Answer, TargetError> {
        let answer = async {
            let response =
                self.kube.send(request.map(Into::into)).await.map_err(|error| unreachable(doing, &error))?;
            let (head, body) = response.into_parts();
            let body = match Limited::new(body, BODY_LIMIT).collect().await {
                Ok(body) => body.to_bytes(),
                Err(error) if error.is::<http_body_util::LengthLimitError>() => {
                    let why = format!("the answer is larger than {} MiB", BODY_LIMIT / (1024 * 1024));
                    return Err(TargetError::rejected(doing, why));
                }
                Err(error) => return Err(unreachable(doing, &*error)),
            };
            let header = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
            let warning = header("warning").map(str::to_owned);
            let retry_after = header("retry-after").and_then(|text| text.trim().parse().ok());
            Answer::read(doing, head.status.as_u16(), retry_after.map(Duration::from_secs), warning, &body)
        };
        tokio::time::timeout(REQUEST_TIMEOUT, answer).await.unwrap_or_else(|_| {
            let why = format!("no answer within {} s", REQUEST_TIMEOUT.as_secs());
            Err(TargetError::unavailable(doing, why))
        })
    }
}

/// The innermost cause says it: `connection refused`. The url is known, and the layers between say nothing.
fn unreachable(doing: &str, error: &(dyn std::error::Error + 'static)) -> TargetError {
    let mut innermost = error;
    while let Some(cause) = innermost.source() {
        innermost = cause;
    }
    TargetError::unavailable(doing, format!("the kubernetes api could not be reached: {innermost}"))
}

fn read_ca(pem: &[u8]) -> Result<Vec<Vec<u8>>, SettingsError> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let certificates = certificates.map_err(|error| SettingsError::Ca(error.to_string()))?;
    if certificates.is_empty() {
        return Err(SettingsError::Ca("it holds no certificate".to_owned()));
    }
    Ok(certificates.into_iter().map(|certificate| certificate.to_vec()).collect())
}

/// A DNS label, which is what namespaces are called by; it becomes part of a path.
fn is_label(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=63).contains(&text.len())
        && text.bytes().all(inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
}
