//! The Jobs that prepare epochs of a table.

use std::collections::BTreeMap;

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// Limits of the Jobs that prepare epochs. A change applies to the next Job and does not create an
/// epoch.
#[derive(Debug, Clone, PartialEq, Eq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Prepare {
    /// Requests and limits of the Job's container. If a resource has neither, the Job requests 100m
    /// of CPU and 256Mi of memory, with limits of 4 CPUs and 8Gi, so that a namespace quota on
    /// requests or limits accepts the Job. If only one of request and limit is given, it is used
    /// for both. Half of the memory limit is used for rows.
    #[serde(default)]
    pub resources: PrepareResources,

    /// How long a Job may run, in hours, minutes and seconds, before it is stopped and retried.
    /// Defaults to `6h`.
    #[serde(default = "default_timeout")]
    #[schemars(length(max = 32))]
    #[x_kube(
        validation = Rule::new("self != '' && self.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}s)?$')").message(
            "must be a duration in hours, minutes and seconds, such as 6h or 1h30m"
        ),
        validation = Rule::new("self == '' || !self.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}s)?$') || (duration(self) >= duration('1m') && duration(self) <= duration('720h'))").message(
            "must be from 1m to 720h"
        )
    )]
    pub timeout: String,

    /// Maximum size of the source as it is transferred, before decompression. Defaults to `64Gi`.
    #[serde(default = "default_max_source_size")]
    #[schemars(length(max = 16))]
    #[x_kube(validation = Rule::new("self.matches('^[1-9][0-9]{0,5}(Mi|Gi|Ti)$')").message(
        "must be a whole number of Mi, Gi or Ti, such as 64Gi"
    ))]
    pub max_source_size: String,
}

impl Default for Prepare {
    fn default() -> Self {
        Self {
            resources: PrepareResources::default(),
            timeout: default_timeout(),
            max_source_size: default_max_source_size(),
        }
    }
}

impl Prepare {
    /// `maxSourceSize` in MiB, or `None` if the value is invalid.
    pub fn max_source_mib(&self) -> Option<u64> {
        let (number, unit) =
            self.max_source_size.split_at_checked(self.max_source_size.len().checked_sub(2)?)?;
        let mib: u64 = match unit {
            "Mi" => 1,
            "Gi" => 1 << 10,
            "Ti" => 1 << 20,
            _ => return None,
        };
        number.parse::<u64>().ok()?.checked_mul(mib)
    }
}

/// Requests and limits of a container. [`Prepare::resources`] describes the defaults.
#[derive(Debug, Clone, Default, PartialEq, Eq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PrepareResources {
    /// Requests by resource name: `cpu`, `memory`, `ephemeral-storage`.
    #[schemars(extend(
        "maxProperties" = 16,
        "additionalProperties" = serde_json::json!({"type": "string", "maxLength": 32})
    ))]
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[x_kube(validation = Rule::new("self.all(key, self[key].matches('^[0-9]+([.][0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$'))").message(
        "each must be a quantity in quotation marks, such as \"500m\" of cpu or \"1Gi\" of memory"
    ))]
    pub requests: BTreeMap<String, String>,

    /// Limits by resource name: `cpu`, `memory`, `ephemeral-storage`.
    #[schemars(extend(
        "maxProperties" = 16,
        "additionalProperties" = serde_json::json!({"type": "string", "maxLength": 32})
    ))]
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[x_kube(validation = Rule::new("self.all(key, self[key].matches('^[0-9]+([.][0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$'))").message(
        "each must be a quantity in quotation marks, such as \"500m\" of cpu or \"1Gi\" of memory"
    ))]
    pub limits: BTreeMap<String, String>,
}

fn default_timeout() -> String {
    "6h".into()
}

fn default_max_source_size() -> String {
    "64Gi".into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_the_spec_writes_them() {
        let mib = |text: &str| {
            Prepare { max_source_size: text.into(), ..Prepare::default() }.max_source_mib()
        };
        assert_eq!(mib("64Gi"), Some(65_536));
        assert_eq!((mib("1Mi"), mib("2Ti")), (Some(1), Some(2 << 20)));
        for bad in ["", "Mi", "64", "64Ki", "é", "1é"] {
            assert_eq!(mib(bad), None, "{bad}");
        }
        assert_eq!(Prepare::default().max_source_mib(), Some(65_536));
    }
}
