//! Settings of a bucket from this process's variables and from files that change while it runs. The
//! file `ca.crt`, if present, holds authorities of the bucket's server, in addition to the
//! system's.

use std::io;
use std::path::{Path, PathBuf};

use crate::bucket::Settings;

/// Largest file that is read. A longer file is not a credential.
const MAX_BYTES: u64 = 1 << 20;

/// The file with authorities.
const AUTHORITIES: &str = "ca.crt";

/// Variables, and a folder with one file per further variable, as a Secret is mounted.
#[derive(Debug, Clone, Default)]
pub struct Credentials {
    variables: Settings,
    folder: Option<PathBuf>,
}

impl Credentials {
    /// `variables` take precedence over the files of `folder`, as `env` does over `envFrom` in a
    /// pod.
    pub fn new(variables: Settings, folder: Option<PathBuf>) -> Self {
        Self { variables, folder }
    }

    /// The current settings.
    ///
    /// # Errors
    /// The folder or one of its files cannot be read, or is being changed at this moment.
    pub fn settings(&self) -> io::Result<Settings> {
        let files = self.folder.as_deref().map(read).transpose()?.unwrap_or_default();
        let (authorities, files): (Vec<_>, Vec<_>) =
            files.into_iter().partition(|(name, _)| name == AUTHORITIES);
        let settings = self.variables.clone().over(Settings::new(files));
        let authorities = authorities.into_iter().next();
        Ok(match authorities {
            Some((_, pem)) => settings.with_authorities(pem),
            None => settings,
        })
    }

    /// Whether the settings never change.
    pub(crate) fn is_fixed(&self) -> bool {
        self.folder.is_none()
    }
}

impl From<Settings> for Credentials {
    fn from(variables: Settings) -> Self {
        Self::new(variables, None)
    }
}

/// Name and text of each file. Kubernetes' own entries, such as `..data`, are skipped, and so are
/// files that are not UTF-8.
fn read(folder: &Path) -> io::Result<Vec<(String, String)>> {
    let mut files = Vec::new();
    for entry in folder.read_dir()? {
        let path = entry?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        let metadata = path.metadata()?;
        if name.starts_with('.') || !metadata.is_file() || metadata.len() > MAX_BYTES {
            continue;
        }
        if let Ok(text) = String::from_utf8(std::fs::read(&path)?) {
            files.push((name.to_owned(), text));
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mounted_secret_is_read_and_variables_win_over_it() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| {
            std::fs::write(folder.path().join(name), bytes).unwrap();
        };
        // The layout of the kubelet: the files are links into a folder that is replaced as a whole.
        let data = folder.path().join("..2026_11_30");
        std::fs::create_dir(&data).unwrap();
        std::fs::write(data.join("AWS_SECRET_ACCESS_KEY"), "secret\n").unwrap();
        std::os::unix::fs::symlink(&data, folder.path().join("..data")).unwrap();
        let link = folder.path().join("AWS_SECRET_ACCESS_KEY");
        std::os::unix::fs::symlink("..data/AWS_SECRET_ACCESS_KEY", link).unwrap();
        write("AWS_REGION", b"eu-1");
        write("AWS_SESSION_TOKEN", b"\xff\xfe");
        write("HOME", b"/root");
        write("ca.crt", b"pem");
        let given = [("AWS_REGION", "eu-2"), ("AWS_ROLE_ARN", "arn")];
        let given = given.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let credentials = Credentials::new(Settings::new(given), Some(folder.path().to_owned()));
        let text = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        let wanted =
            [("AWS_REGION", "eu-2"), ("AWS_ROLE_ARN", "arn"), ("AWS_SECRET_ACCESS_KEY", "secret")];
        let all = |wanted: [(String, String); 3]| {
            Settings::new(wanted).with_authorities("pem".to_owned())
        };
        assert_eq!(credentials.settings().unwrap(), all(wanted.map(text)));
        write("AWS_ROLE_ARN", b"other");
        write("AWS_SECRET_ACCESS_KEY", b"next");
        let now =
            wanted.map(|(name, value)| (name, if value == "secret" { "next" } else { value }));
        assert_eq!(credentials.settings().unwrap(), all(now.map(text)));
        drop(folder);
        assert!(credentials.settings().is_err(), "a folder that is gone is no empty one");
    }
}
