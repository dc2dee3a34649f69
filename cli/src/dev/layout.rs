//! The data directory: its lock, its record, and the nodes with their ports.

use std::{
    collections::BTreeMap,
    fs::{self, File, TryLockError},
    io,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
};

use opaque_client::profile::{NodeUrl, files};
use serde::{Deserialize, Serialize};

use super::DevError;

/// Version of `dev.json`.
const VERSION: u32 = 1;

/// An open data directory. It stays locked as long as this value lives.
pub(crate) struct Layout {
    data: PathBuf,
    shards: u32,
    nodes: Vec<Node>,
    _lock: File,
}

/// One node process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) shard: u32,
    pub(crate) client_port: u16,
    pub(crate) peer_port: u16,
}

impl Node {
    pub(crate) fn url(&self) -> Result<NodeUrl, DevError> {
        let parsed = format!("https://127.0.0.1:{}", self.client_port).parse();
        parsed.map_err(|error: opaque_client::profile::ProfileError| DevError::Client(error.into()))
    }
}

/// The contents of `dev.json`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    version: u32,
    shards: u32,
    /// Client port and peer port of each node. A node that is not started now keeps its ports.
    ports: BTreeMap<String, (u16, u16)>,
}

impl Layout {
    /// Locks `data`, and reads its record or creates one with `asked` (or else `default`) shards.
    /// Recorded ports are reused if they are free, unless `base_port` determines them.
    pub(crate) fn open(
        data: PathBuf,
        asked: Option<u32>,
        default: u32,
        replicas: u32,
        base_port: Option<u16>,
    ) -> Result<Self, DevError> {
        for dir in [data.clone(), data.join("store"), data.join("coordination")] {
            make(&dir)?;
        }
        make(&data.join("logs"))?;
        make(&data.join("run"))?;
        let lock = lock(&data)?;
        let path = data.join("dev.json");
        let mut record = read(&path)?.unwrap_or_else(|| Record {
            version: VERSION,
            shards: asked.unwrap_or(default),
            ports: BTreeMap::new(),
        });
        if let Some(asked) = asked.filter(|asked| *asked != record.shards) {
            return Err(DevError::Shards { data, found: record.shards, asked });
        }
        let mut nodes = Vec::new();
        // All ports stay bound until the last one is chosen, so that no two nodes get the same
        // port.
        let mut held = Vec::new();
        for shard in 0..record.shards {
            for replica in 0..replicas {
                let name = format!("shard-{shard}-{replica}");
                let recorded = record.ports.get(&name).copied();
                let wanted = match base_port {
                    Some(base) => Some(based(base, nodes.len(), &name)?),
                    None => recorded,
                };
                let ports = match wanted.and_then(|ports| hold(ports).ok()) {
                    Some(listeners) => keep(listeners, &mut held),
                    // A given port that is taken is an error. A recorded port that is taken is
                    // replaced.
                    None if base_port.is_some() => hold(wanted.unwrap_or_default())
                        .and_then(|listeners| keep(listeners, &mut held)),
                    None => hold((0, 0)).and_then(|listeners| keep(listeners, &mut held)),
                };
                let (client_port, peer_port) =
                    ports.map_err(|source| DevError::Port { node: name.clone(), source })?;
                record.ports.insert(name.clone(), (client_port, peer_port));
                nodes.push(Node { name, shard, client_port, peer_port });
            }
        }
        let json = serde_json::to_vec_pretty(&record).map_err(io::Error::other);
        json.and_then(|json| files::replace(&path, &json))
            .map_err(|source| DevError::Files { path, source })?;
        Ok(Self { data, shards: record.shards, nodes, _lock: lock })
    }

    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    pub(crate) fn shards(&self) -> u32 {
        self.shards
    }

    pub(crate) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    pub(crate) fn tls_dir(&self) -> PathBuf {
        self.data.join("tls")
    }

    pub(crate) fn node_tls_dir(&self, node: &Node) -> PathBuf {
        self.tls_dir().join(&node.name)
    }

    pub(crate) fn client_ca_file(&self) -> PathBuf {
        self.tls_dir().join("client-ca.crt")
    }

    pub(crate) fn store_dir(&self) -> PathBuf {
        self.data.join("store")
    }

    pub(crate) fn coordination_dir(&self) -> PathBuf {
        self.data.join("coordination")
    }

    pub(crate) fn log_file(&self, node: &Node) -> PathBuf {
        self.data.join("logs").join(format!("{}.log", node.name))
    }

    pub(crate) fn pid_file(&self, node: &Node) -> PathBuf {
        self.data.join("run").join(format!("{}.pid", node.name))
    }
}

fn make(dir: &Path) -> Result<(), DevError> {
    files::create_dir(dir).map_err(|source| DevError::Files { path: dir.to_owned(), source })
}

fn lock(data: &Path) -> Result<File, DevError> {
    let path = data.join("lock");
    let opened = File::options().create(true).truncate(false).write(true).open(&path);
    let file = opened.map_err(|source| DevError::Files { path: path.clone(), source })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(DevError::Locked { data: data.to_owned() }),
        Err(TryLockError::Error(source)) => Err(DevError::Files { path, source }),
    }
}

fn read(path: &Path) -> Result<Option<Record>, DevError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(DevError::Files { path: path.to_owned(), source }),
    };
    match serde_json::from_slice::<Record>(&bytes) {
        Ok(record) if record.version == VERSION && record.shards > 0 => Ok(Some(record)),
        Ok(_) | Err(_) => Err(DevError::Record { path: path.to_owned() }),
    }
}

/// The two ports of node number `number`, counted from `base`.
fn based(base: u16, number: usize, name: &str) -> Result<(u16, u16), DevError> {
    let beyond = || DevError::Port {
        node: name.to_owned(),
        source: io::Error::other("there is no such port"),
    };
    let offset = u16::try_from(number * 2).map_err(|_| beyond())?;
    let client = base.checked_add(offset).ok_or_else(beyond)?;
    Ok((client, client.checked_add(1).ok_or_else(beyond)?))
}

/// Binds two ports. Port 0 means any free port.
fn hold((client, peer): (u16, u16)) -> io::Result<[TcpListener; 2]> {
    let bind = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    Ok([bind(client)?, bind(peer)?])
}

fn keep(listeners: [TcpListener; 2], held: &mut Vec<TcpListener>) -> io::Result<(u16, u16)> {
    let [client, peer] = &listeners;
    let ports = (client.local_addr()?.port(), peer.local_addr()?.port());
    held.extend(listeners);
    Ok(ports)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(data: &Path, shards: Option<u32>, replicas: u32) -> Result<Layout, DevError> {
        Layout::open(data.to_owned(), shards, 3, replicas, None)
    }

    #[test]
    fn ports_are_recorded_and_kept_where_they_are_free() {
        let dir = tempfile::tempdir().unwrap();
        let first = open(dir.path(), None, 2).unwrap().nodes().to_vec();
        assert_eq!(first.len(), 6);
        let mut ports: Vec<u16> =
            first.iter().flat_map(|node| [node.client_port, node.peer_port]).collect();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 12);
        assert_eq!(open(dir.path(), Some(3), 2).unwrap().nodes(), first);
        // One port is taken: its node gets other ports, the rest keep theirs.
        let taken = hold((first[2].client_port, 0)).unwrap();
        let moved = open(dir.path(), None, 2).unwrap().nodes().to_vec();
        drop(taken);
        assert_ne!(moved[2].client_port, first[2].client_port);
        let others = |nodes: &[Node]| [&nodes[..2], &nodes[3..]].concat();
        assert_eq!(others(&moved), others(&first));
        // Fewer replicas, then more again: all ports stay the same.
        assert_eq!(open(dir.path(), None, 1).unwrap().nodes()[0], first[0]);
        assert_eq!(open(dir.path(), None, 2).unwrap().nodes(), moved);
    }

    #[test]
    fn two_clusters_on_one_directory_and_other_shards_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let held = open(dir.path(), Some(2), 1).unwrap();
        assert!(matches!(open(dir.path(), None, 1), Err(DevError::Locked { .. })));
        drop(held);
        let error = open(dir.path(), Some(3), 1).err().unwrap();
        assert!(matches!(error, DevError::Shards { found: 2, asked: 3, .. }));
        assert!(error.hint().unwrap().contains("--shards 2"));
        assert_eq!(open(dir.path(), None, 1).unwrap().shards(), 2);
    }

    #[test]
    fn a_damaged_record_is_refused_and_stays() {
        let dir = tempfile::tempdir().unwrap();
        for text in ["{", "{}", r#"{"version":2,"shards":3,"ports":{}}"#] {
            fs::write(dir.path().join("dev.json"), text).unwrap();
            assert!(matches!(open(dir.path(), None, 1), Err(DevError::Record { .. })));
            assert_eq!(fs::read_to_string(dir.path().join("dev.json")).unwrap(), text);
        }
    }

    #[test]
    fn base_port_gives_consecutive_pairs() {
        assert_eq!(based(7000, 0, "n").unwrap(), (7000, 7001));
        assert_eq!(based(7000, 3, "n").unwrap(), (7006, 7007));
        assert!(based(65535, 0, "n").is_err());
        assert!(based(65000, 300, "n").is_err());
    }
}
