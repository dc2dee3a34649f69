use super::*;

#[test]
fn salt_text_round_trip() {
    let salt = Salt(std::array::from_fn(|i| i as u8 * 7));
    assert_eq!(salt.to_string().parse(), Ok(salt));
    let json = serde_json::to_string(&salt).unwrap();
    assert_eq!(json.len(), 66);
    assert_eq!(serde_json::from_str::<Salt>(&json).unwrap(), salt);
    for bad in ["", "00", &"0".repeat(63), &"0".repeat(65), &"g".repeat(64), &"é".repeat(32)] {
        assert_eq!(bad.parse::<Salt>(), Err(SaltError), "{bad:?}");
    }
}
