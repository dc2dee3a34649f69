//! etcd and kube-apiserver on loopback.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Patch, PatchParams};
use kube::config::{AuthInfo, Config};
use kube::{Api, Client, ResourceExt};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use crate::authority::Authority;
use crate::cache;
use crate::process::Process;

/// How long a server may take to become ready on a busy machine.
const START: Duration = Duration::from_secs(120);
/// How long the API server may take to serve a new kind.
const ESTABLISH: Duration = Duration::from_secs(60);
/// Polling interval.
const LOOK: Duration = Duration::from_millis(50);
/// Attempts to start. A port that was free may be taken a moment later.
const ATTEMPTS: usize = 3;
/// Field manager of the tests.
pub const FIELD_MANAGER: &str = "opaque-e2e";

/// A control plane without nodes, and initially without controllers. Fields are dropped in this
/// order: first the servers, then the folder to which they write.
#[derive(Debug)]
pub struct ControlPlane {
    controllers: Option<Process>,
    apiserver: Process,
    etcd: Process,
    config: Config,
    folder: TempDir,
}

impl ControlPlane {
    /// Starts both servers and waits until the API is ready.
    pub async fn start() -> Result<Self> {
        let mut last = None;
        for _ in 0..ATTEMPTS {
            match Self::attempt().await {
                Ok(control_plane) => return Ok(control_plane),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| anyhow::anyhow!("nothing was tried")))
    }

    /// A client with all permissions.
    pub fn client(&self) -> Result<Client> {
        Ok(Client::try_from(self.config.clone())?)
    }

    /// A client with the permissions of a service account, by impersonation.
    pub fn client_as(&self, namespace: &str, account: &str) -> Result<Client> {
        let mut config = self.config.clone();
        config.auth_info.impersonate = Some(format!("system:serviceaccount:{namespace}:{account}"));
        config.auth_info.impersonate_groups = Some(vec![
            "system:serviceaccounts".into(),
            format!("system:serviceaccounts:{namespace}"),
            "system:authenticated".into(),
        ]);
        Ok(Client::try_from(config)?)
    }

    /// Configuration for access to the API with all permissions.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Starts some of Kubernetes' controllers, such as `statefulset,disruption`.
    pub fn start_controllers(&mut self, names: &str) -> Result<()> {
        let arguments = [
            "--kubeconfig=controllers.json".into(),
            format!("--controllers={names}"),
            "--leader-elect=false".into(),
            "--secure-port=0".into(),
            // A controller that is slow to see its pods is not under test.
            "--kube-api-qps=500".into(),
            "--kube-api-burst=1000".into(),
        ];
        let name = "kube-controller-manager";
        self.controllers =
            Some(Process::start(name, &cache::server(name)?, arguments, self.folder.path())?);
        Ok(())
    }

    /// Kubeconfig for other programs, with all permissions.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("controllers.json")
    }

    /// Process ids of the servers.
    pub fn processes(&self) -> [u32; 2] {
        [self.etcd.id(), self.apiserver.id()]
    }

    /// Applies definitions and waits until their kinds are served.
    pub async fn establish(&self, definitions: &[CustomResourceDefinition]) -> Result<()> {
        let client = self.client()?;
        let api: Api<CustomResourceDefinition> = Api::all(client.clone());
        let params = PatchParams::apply(FIELD_MANAGER);
        for definition in definitions {
            let name = definition.name_any();
            let patch = Patch::Apply(definition);
            api.patch(&name, &params, &patch).await.with_context(|| format!("applying {name}"))?;
        }
        for definition in definitions {
            let name = definition.name_any();
            let limit = Instant::now() + ESTABLISH;
            while !is_established(&api.get(&name).await?) || !is_served(&client, definition).await {
                if Instant::now() > limit {
                    bail!("{name} was not established within {ESTABLISH:?}");
                }
                sleep(LOOK).await;
            }
        }
        Ok(())
    }

    async fn attempt() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("opaque-e2e-").tempdir()?;
        let [etcd_port, peer_port, api_port] = free_ports()?;
        let mut etcd = start_etcd(folder.path(), etcd_port, peer_port)?;
        wait_for_port(&mut etcd, etcd_port).await?;

        let authority = Authority::new()?;
        write_certificates(&authority, folder.path(), api_port)?;
        let apiserver = start_apiserver(folder.path(), etcd_port, api_port)?;
        let config = config(&authority, folder.path(), api_port)?;
        let mut control_plane = Self { controllers: None, apiserver, etcd, config, folder };
        control_plane.wait_until_ready().await?;
        Ok(control_plane)
    }

    async fn wait_until_ready(&mut self) -> Result<()> {
        let client = self.client()?;
        let limit = Instant::now() + START;
        loop {
            self.etcd.check()?;
            self.apiserver.check()?;
            // The connection is refused until the server listens. Then it returns 500 until its
            // start-up tasks are done.
            if let Ok(Ok(_)) = timeout(Duration::from_secs(5), ready(&client)).await {
                return Ok(());
            }
            if Instant::now() > limit {
                bail!("kube-apiserver is not ready after {START:?}:\n{}", self.apiserver.log());
            }
            sleep(LOOK).await;
        }
    }
}

async fn ready(client: &Client) -> Result<String> {
    let request = http::Request::get("/readyz").body(Vec::new())?;
    Ok(client.request_text(request).await?)
}

/// Whether objects can be listed. The handlers of an established kind come a moment later.
async fn is_served(client: &Client, definition: &CustomResourceDefinition) -> bool {
    let (group, plural) = (&definition.spec.group, &definition.spec.names.plural);
    for version in &definition.spec.versions {
        let path = format!("/apis/{group}/{}/{plural}?limit=1", version.name);
        let Ok(request) = http::Request::get(path).body(Vec::new()) else { return false };
        if client.request_text(request).await.is_err() {
            return false;
        }
    }
    let discovery = format!("/apis/{group}");
    let request = http::Request::get(discovery).body(Vec::new());
    match request {
        Ok(request) => client.request_text(request).await.is_ok(),
        Err(_) => false,
    }
}

fn is_established(definition: &CustomResourceDefinition) -> bool {
    let conditions = definition.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|c| c.type_ == "Established" && c.status == "True")
}

fn start_etcd(folder: &Path, port: u16, peer_port: u16) -> Result<Process> {
    let (client, peer) = (local(port), local(peer_port));
    let arguments = [
        format!("--data-dir={}", folder.join("etcd").display()),
        format!("--listen-client-urls={client}"),
        format!("--advertise-client-urls={client}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=default={peer}"),
        // The data is not needed after the test.
        "--unsafe-no-fsync".into(),
        "--log-level=warn".into(),
    ];
    Process::start("etcd", &cache::server("etcd")?, arguments, folder)
}

fn start_apiserver(folder: &Path, etcd_port: u16, port: u16) -> Result<Process> {
    let arguments = [
        format!("--etcd-servers={}", local(etcd_port)),
        "--bind-address=127.0.0.1".into(),
        format!("--secure-port={port}"),
        "--service-cluster-ip-range=10.96.0.0/16".into(),
        "--authorization-mode=RBAC".into(),
        "--client-ca-file=ca.crt".into(),
        "--tls-cert-file=apiserver.crt".into(),
        "--tls-private-key-file=apiserver.key".into(),
        "--service-account-key-file=accounts.crt".into(),
        "--service-account-signing-key-file=accounts.key".into(),
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local".into(),
        // A loopback address cannot be an endpoint of the Service `kubernetes`, which is not needed
        // here.
        "--endpoint-reconciler-type=none".into(),
    ];
    Process::start("kube-apiserver", &cache::server("kube-apiserver")?, arguments, folder)
}

/// Writes the certificates of the API server, of its administrator and of its controllers.
fn write_certificates(authority: &Authority, folder: &Path, port: u16) -> Result<()> {
    std::fs::write(folder.join("ca.crt"), authority.pem())?;
    authority.server(&["127.0.0.1", "localhost"])?.write(folder, "apiserver")?;
    // Signs tokens of service accounts. Only the public key of the certificate is used.
    authority.user("accounts", "accounts")?.write(folder, "accounts")?;
    let controllers = authority.user("controllers", "system:masters")?;
    controllers.kubeconfig(folder, "controllers", &format!("https://127.0.0.1:{port}"))?;
    authority.user("admin", "system:masters")?.write(folder, "admin")
}

fn config(authority: &Authority, folder: &Path, port: u16) -> Result<Config> {
    let path = |file| folder.join(file).display().to_string();
    let mut config = Config::new(format!("https://127.0.0.1:{port}").parse()?);
    config.root_cert = Some(vec![authority.der()]);
    config.auth_info = AuthInfo {
        client_certificate: Some(path("admin.crt")),
        client_key: Some(path("admin.key")),
        ..AuthInfo::default()
    };
    Ok(config)
}

async fn wait_for_port(process: &mut Process, port: u16) -> Result<()> {
    let limit = Instant::now() + START;
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_err() {
        process.check()?;
        if Instant::now() > limit {
            bail!("nothing listens on port {port} after {START:?}:\n{}", process.log());
        }
        sleep(LOOK).await;
    }
    Ok(())
}

/// Ports that were free a moment ago. They are all different, since all are held until the last is
/// found.
fn free_ports<const N: usize>() -> Result<[u16; N]> {
    let mut ports = [0; N];
    let mut held = Vec::new();
    for port in &mut ports {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        *port = listener.local_addr()?.port();
        held.push(listener);
    }
    Ok(ports)
}

fn local(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}
