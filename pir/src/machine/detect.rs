//! Detects the instructions of this machine. Each function is the precondition of one kernel's
//! `unsafe` calls.

/// ARM's dot products of bytes. NEON itself is part of every 64-bit ARM processor.
#[cfg(target_arch = "aarch64")]
pub(crate) fn dotprod() -> bool {
    std::arch::is_aarch64_feature_detected!("dotprod")
}

#[cfg(target_arch = "x86_64")]
pub(crate) use x86::*;

#[cfg(target_arch = "x86_64")]
mod x86 {
    #![expect(
        unsafe_code,
        reason = "Linux gives tile registers only to programs that request them"
    )]

    use std::arch::is_x86_feature_detected;
    use std::arch::x86_64::__cpuid;
    #[cfg(target_os = "linux")]
    use std::sync::OnceLock;

    /// A proof of AVX2. **Invariant:** a value exists only if the instructions were detected,
    /// because only [`Self::detect`] creates one.
    #[derive(Clone, Copy)]
    pub(crate) struct Avx2(());

    impl Avx2 {
        /// `None` if this machine lacks the instructions.
        pub(crate) fn detect() -> Option<Self> {
            avx2().then_some(Self(()))
        }
    }

    /// A proof of AVX-512 F, BW, DQ and VL. **Invariant:** as for [`Avx2`].
    #[derive(Clone, Copy)]
    pub(crate) struct Avx512(());

    impl Avx512 {
        /// `None` if this machine lacks the instructions.
        pub(crate) fn detect() -> Option<Self> {
            avx512().then_some(Self(()))
        }
    }

    pub(crate) fn avx2() -> bool {
        is_x86_feature_detected!("avx2")
    }

    pub(crate) fn avx_vnni() -> bool {
        avx2() && is_x86_feature_detected!("avxvnni")
    }

    /// F, BW, DQ and VL.
    pub(crate) fn avx512() -> bool {
        is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
    }

    pub(crate) fn avx512_vbmi() -> bool {
        avx512() && is_x86_feature_detected!("avx512vbmi")
    }

    pub(crate) fn avx512_vnni() -> bool {
        is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vnni")
    }

    /// AVX-512's instructions on narrower registers.
    #[cfg(test)]
    pub(crate) fn avx512_vl() -> bool {
        is_x86_feature_detected!("avx512vl")
    }

    /// AVX-512's foundation, for a plain read.
    pub(crate) fn avx512_f() -> bool {
        is_x86_feature_detected!("avx512f")
    }

    /// Whether AMD made the processor. AMD's processors prefetch by other rules than Intel's, and
    /// only the vendor's name (CPUID leaf 0) distinguishes them.
    pub(crate) fn amd() -> bool {
        let maker = __cpuid(0);
        [maker.ebx, maker.edx, maker.ecx].map(u32::to_le_bytes).as_flattened() == b"AuthenticAMD"
    }

    /// Whether the processor has int8 tiles and Linux lets this process use them. Both are checked
    /// once.
    #[cfg(target_os = "linux")]
    pub(crate) fn amx() -> bool {
        static GRANTED: OnceLock<bool> = OnceLock::new();
        *GRANTED.get_or_init(|| has_int8_tiles() && tiles_granted())
    }

    /// Other systems have other ways to request tiles, which have not been tried.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn amx() -> bool {
        false
    }

    /// CPUID leaf 7, EDX: bit 24 is AMX-TILE, bit 25 AMX-INT8 (Intel SDM, volume 2A, CPUID).
    #[cfg(target_os = "linux")]
    fn has_int8_tiles() -> bool {
        use std::arch::x86_64::__cpuid_count;

        const TILES: u32 = 1 << 24 | 1 << 25;
        __cpuid(0).eax >= 7 && __cpuid_count(7, 0).edx & TILES == TILES
    }

    /// Requests the tile data state (component 18) for all threads of the process. Linux refuses if
    /// it does not manage that state itself, so a grant means that the state survives context
    /// switches.
    #[cfg(target_os = "linux")]
    fn tiles_granted() -> bool {
        const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
        const XFEATURE_XTILEDATA: libc::c_long = 18;
        // SAFETY: this request takes a number, touches no memory of ours, and only adds a
        // permission.
        unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0 }
    }

    #[cfg(all(test, target_os = "linux"))]
    mod tests {
        #[test]
        fn the_maker_is_the_one_that_linux_names() {
            let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap();
            assert_eq!(super::amd(), cpus.contains("AuthenticAMD"));
        }
    }
}
