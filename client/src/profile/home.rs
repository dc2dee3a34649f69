//! The directories of profiles.

use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
};

use super::{ProfileError, ProfileName};

/// The directory that holds a profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    directory: PathBuf,
    name: ProfileName,
}

impl Home {
    /// The directory at `path`, with its default profile. This creates no files.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { directory: path.into(), name: ProfileName::default() }
    }

    /// The directory of a profile of this home, which must be the one of the default profile. It
    /// has its own settings and keys.
    #[must_use]
    pub fn named(&self, name: ProfileName) -> Self {
        if name.is_default() {
            return self.clone();
        }
        Self { directory: self.profiles_dir().join(name.as_str()), name }
    }

    /// The profiles that have settings: the default one, then the others by name.
    ///
    /// # Errors
    /// The directory of profiles cannot be read.
    pub fn profiles(&self) -> Result<Vec<Self>, ProfileError> {
        let path = self.profiles_dir();
        let mut names = Vec::new();
        let read = |source| ProfileError::Read { path: path.clone(), source };
        match fs::read_dir(&path) {
            Ok(entries) => {
                for entry in entries {
                    let name = entry.map_err(read)?.file_name();
                    // A directory with another name was not made by `opaque`.
                    names.extend(name.to_str().and_then(|name| name.parse::<ProfileName>().ok()));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(read(source)),
        }
        names.retain(|name| !name.is_default());
        names.sort();
        let all = std::iter::once(ProfileName::default()).chain(names);
        let all = all.map(|name| self.named(name));
        Ok(all.filter(|home| home.profile_file().exists()).collect())
    }

    fn profiles_dir(&self) -> PathBuf {
        self.directory.join("profiles")
    }

    /// The profile's name.
    pub fn name(&self) -> &ProfileName {
        &self.name
    }

    /// `opaque_home` (the variable OPAQUE_HOME) if set, else `.opaque` in `user_home` (HOME).
    pub fn locate(
        opaque_home: Option<OsString>,
        user_home: Option<OsString>,
    ) -> Result<Self, ProfileError> {
        let set = |variable: Option<OsString>| variable.filter(|value| !value.is_empty());
        set(opaque_home)
            .map(PathBuf::from)
            .or_else(|| set(user_home).map(|home| PathBuf::from(home).join(".opaque")))
            .map(Self::new)
            .ok_or(ProfileError::NoHome)
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.directory
    }

    /// Path of the connection settings.
    pub fn profile_file(&self) -> PathBuf {
        self.directory.join("profile.toml")
    }

    /// Path of the secret keys.
    pub fn keys_dir(&self) -> PathBuf {
        self.directory.join("keys")
    }

    /// Default data directory of `opaque dev`.
    pub fn dev_dir(&self) -> PathBuf {
        self.directory.join("dev")
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::profile::Profile;

    #[test]
    fn home_prefers_its_own_variable() {
        let home = |a: &str, b: &str| Home::locate(Some(a.into()), Some(b.into()));
        assert_eq!(home("/x", "/h").unwrap(), Home::new("/x"));
        assert_eq!(home("", "/h").unwrap(), Home::new("/h/.opaque"));
        assert!(matches!(Home::locate(None, None), Err(ProfileError::NoHome)));
    }

    #[test]
    fn each_name_has_its_own_files() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path().join("home"));
        assert_eq!(home.profiles().unwrap(), []);
        let named = |name: &str| home.named(name.parse().unwrap());
        assert_eq!(named("default"), home);
        let profile = |port: &str| Profile {
            endpoints: vec![format!("https://a:{port}").parse().unwrap()],
            ..Profile::default()
        };
        for (name, port) in [("staging", "1"), ("default", "2"), ("eu", "3")] {
            profile(port).write(&named(name)).unwrap();
        }
        fs::create_dir_all(home.path().join("profiles/empty")).unwrap();
        fs::create_dir_all(home.path().join("profiles/not a name")).unwrap();
        assert_eq!(home.profiles().unwrap(), [named("default"), named("eu"), named("staging")]);
        assert_eq!(Profile::read(&home).unwrap(), Some(profile("2")));
        assert_eq!(Profile::read(&named("staging")).unwrap(), Some(profile("1")));
        let places = |home: &Home| [home.profile_file(), home.keys_dir(), home.dev_dir()];
        assert!(places(&named("eu")).iter().all(|path| !places(&home).contains(path)));
        let mode = fs::metadata(named("eu").path()).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o700);
    }
}
