//! What the commands of a shell set.

use super::input::{Meta, Vertical};

/// What commands set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) vertical: Vertical,
    pub(super) timing: bool,
    pub(super) pages: u32,
    pub(super) scan: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { vertical: Vertical::Off, timing: false, pages: 1, scan: false }
    }
}

impl Vertical {
    /// Whether an answer has a line for each value.
    pub(super) fn applies(self, is_wide: impl FnOnce() -> bool) -> bool {
        match self {
            Self::Off => false,
            Self::On => true,
            Self::Auto => is_wide(),
        }
    }
}

impl Settings {
    /// Changes a setting, and says what it is now.
    pub(super) fn change(&mut self, meta: &Meta<'_>) -> String {
        let word = |on| if on { "on" } else { "off" };
        match *meta {
            Meta::Timing(on) => {
                self.timing = on.unwrap_or(!self.timing);
                format!("timing is {}\n", word(self.timing))
            }
            Meta::Scan(on) => {
                self.scan = on.unwrap_or(!self.scan);
                format!("public scans are {}\n", word(self.scan))
            }
            Meta::Pages(pages) => {
                self.pages = pages;
                format!("pages: {pages}\n")
            }
            Meta::Vertical(vertical) => {
                let other = match self.vertical {
                    Vertical::Off => Vertical::On,
                    Vertical::On | Vertical::Auto => Vertical::Off,
                };
                self.vertical = vertical.unwrap_or(other);
                let word = match self.vertical {
                    Vertical::Off => "off",
                    Vertical::On => "on",
                    Vertical::Auto => "on for rows that are wider than the terminal",
                };
                format!("vertical output is {word}\n")
            }
            Meta::Tables | Meta::Describe(_) | Meta::Help | Meta::Quit => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::input::Input, *};

    #[test]
    fn commands_change_settings_and_say_so() {
        let mut settings = Settings::default();
        let mut change = |text| match Input::read(text) {
            Input::Meta(meta) => settings.change(&meta),
            other => panic!("{other:?}"),
        };
        for (command, answer) in [
            ("\\x", "vertical output is on\n"),
            ("\\x", "vertical output is off\n"),
            ("\\x auto", "vertical output is on for rows that are wider than the terminal\n"),
            ("\\timing", "timing is on\n"),
            ("\\timing", "timing is off\n"),
            ("\\scan on", "public scans are on\n"),
            ("\\pages 7", "pages: 7\n"),
        ] {
            assert_eq!(change(command), answer, "{command}");
        }
        let expected = Settings { vertical: Vertical::Auto, timing: false, pages: 7, scan: true };
        assert_eq!(settings, expected);
    }

    #[test]
    fn only_auto_asks_for_the_width() {
        assert!(!Vertical::Off.applies(|| panic!("asked")));
        assert!(Vertical::On.applies(|| panic!("asked")));
        assert!(Vertical::Auto.applies(|| true) && !Vertical::Auto.applies(|| false));
    }
}
