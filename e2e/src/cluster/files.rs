//! Input of the servers: configuration from templates, certificates, kubeconfigs.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::Result;

use super::{BUCKET, CGROUP, NODE, NODE_NAME, S3_PASSWORD, S3_USER, pod_image};
use crate::authority::Authority;
use crate::cache;

/// The servers of a cluster. Each has a script in `cluster/servers`.
pub const SERVERS: [&str; 10] = [
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "containerd",
    "kubelet",
    "kube-proxy",
    "coredns",
    "minio",
    "cert-manager",
];

/// In the order of [`SERVERS`].
const SCRIPTS: [&str; 10] = [
    include_str!("../../cluster/servers/etcd"),
    include_str!("../../cluster/servers/kube-apiserver"),
    include_str!("../../cluster/servers/kube-controller-manager"),
    include_str!("../../cluster/servers/kube-scheduler"),
    include_str!("../../cluster/servers/containerd"),
    include_str!("../../cluster/servers/kubelet"),
    include_str!("../../cluster/servers/kube-proxy"),
    include_str!("../../cluster/servers/coredns"),
    include_str!("../../cluster/servers/minio"),
    include_str!("../../cluster/servers/cert-manager"),
];

const CONFIGURATION: [(&str, &str); 7] = [
    ("containerd.toml", include_str!("../../cluster/containerd.toml")),
    ("cni/10-e2e.conflist", include_str!("../../cluster/cni.conflist")),
    ("kubelet.yaml", include_str!("../../cluster/kubelet.yaml")),
    ("kube-proxy.yaml", include_str!("../../cluster/kube-proxy.yaml")),
    ("Corefile", include_str!("../../cluster/Corefile")),
    ("audit-policy.yaml", include_str!("../../cluster/audit-policy.yaml")),
    ("minio.yaml", include_str!("../../cluster/minio.yaml")),
];

/// Writes everything into a new folder.
pub fn write(folder: &Path) -> Result<()> {
    for name in ["cni", "lib", "log", "run", "pki", "pods", "servers"] {
        fs::create_dir(folder.join(name))?;
    }
    // MinIO stores a bucket as a folder.
    fs::create_dir_all(folder.join("lib/minio").join(BUCKET))?;
    fs::write(folder.join("resolv.conf"), format!("nameserver {NODE}\noptions ndots:1\n"))?;
    for (name, template) in CONFIGURATION {
        fs::write(folder.join(name), render(template, folder)?)?;
    }
    for (name, template) in SERVERS.iter().zip(SCRIPTS) {
        program(&folder.join("servers").join(name), template, folder)?;
    }
    program(&folder.join("inside.sh"), include_str!("../../cluster/inside.sh"), folder)?;
    program(&folder.join("janitor.sh"), include_str!("../../cluster/janitor.sh"), folder)?;
    certificates(&folder.join("pki"))
}

fn program(path: &Path, template: &str, folder: &Path) -> Result<()> {
    fs::write(path, render(template, folder)?)?;
    fs::set_permissions(path, Permissions::from_mode(0o755))?;
    Ok(())
}

fn render(template: &str, folder: &Path) -> Result<String> {
    Ok(template
        .replace("@FOLDER@", &folder.display().to_string())
        .replace("@BIN@", &cache::folder()?.display().to_string())
        .replace("@NODE@", NODE)
        .replace("@NODE_NAME@", NODE_NAME)
        .replace("@CGROUP@", CGROUP)
        .replace("@POD_IMAGE@", &pod_image())
        .replace("@S3_USER@", S3_USER)
        .replace("@S3_PASSWORD@", S3_PASSWORD))
}

fn certificates(pki: &Path) -> Result<()> {
    let authority = Authority::new()?;
    fs::write(pki.join("ca.crt"), authority.pem())?;
    let names = [
        NODE,
        "10.96.0.1",
        "127.0.0.1",
        "localhost",
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
    ];
    authority.server(&names)?.write(pki, "apiserver")?;
    authority.server(&[NODE, NODE_NAME])?.write(pki, "kubelet")?;
    // Signs tokens of service accounts. Only the public key of the certificate is used.
    authority.user("accounts", "accounts")?.write(pki, "accounts")?;
    authority
        .user("kube-apiserver-kubelet-client", "system:masters")?
        .write(pki, "apiserver-kubelet")?;
    let node = format!("system:node:{NODE_NAME}");
    for (file, user, group) in [
        ("admin", "admin", "system:masters"),
        ("kube-controller-manager", "system:kube-controller-manager", "none"),
        ("kube-scheduler", "system:kube-scheduler", "none"),
        ("kube-proxy", "system:kube-proxy", "none"),
        ("kubelet", &node, "system:nodes"),
    ] {
        authority.user(user, group)?.kubeconfig(pki, file, &format!("https://{NODE}:6443"))?;
    }
    Ok(())
}
