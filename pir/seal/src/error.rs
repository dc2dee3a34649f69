//! Errors of this crate. They contain no bytes of a query.

/// Why a BFV operation failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// Bytes, or entries of a plane, have the wrong length.
    #[error("{what}: expected {expected}, found {found}")]
    Size {
        /// The input and its unit.
        what: &'static str,
        /// The required length.
        expected: usize,
        /// The actual length.
        found: usize,
    },
    /// The bytes do not start with the marker and version of their format.
    #[error("{what}: unknown version")]
    Version {
        /// The input.
        what: &'static str,
    },
    /// A residue is not below its prime.
    #[error("{what}: a residue is out of range")]
    Residue {
        /// The input.
        what: &'static str,
    },
    /// The checksum of a stored secret key does not match.
    #[error("the secret key is damaged: its checksum does not match")]
    Checksum,
    /// A coefficient of the scan's secret is too large for the plaintext modulus.
    #[error("a coefficient of the scan's secret is out of range")]
    Coefficient,
    /// SEAL rejects or changes the parameter set.
    #[error("SEAL does not accept the parameter set")]
    Parameters,
    /// SEAL wrote an object in an unexpected format.
    #[error("{what}: unexpected serialization by SEAL")]
    Format {
        /// The object.
        what: &'static str,
    },
    /// SEAL's encoder rejected its operand.
    #[error("{call} failed")]
    Encoder {
        /// The C function.
        call: &'static str,
    },
    /// A call of SEAL failed, because of malformed operands or a transparent result.
    #[error("{call} failed with code {code:#x}")]
    Library {
        /// The C function.
        call: &'static str,
        /// Its HRESULT.
        code: u32,
    },
    /// The operating system's randomness cannot be read.
    #[error("the system's randomness is not available")]
    Randomness(#[source] std::io::Error),
}
