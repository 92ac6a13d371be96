//! The event that all benches use: ten fields, about 320 bytes of JSON.

/// Its schema, a plain record.
pub const SCHEMA: &str = r#"{"type":"record","name":"Order","namespace":"bench","fields":[
 {"name":"order_id","type":"string"},{"name":"customer_id","type":"long"},
 {"name":"status","type":{"type":"enum","name":"Status","symbols":["NEW","PAID","SHIPPED","DONE"]}},
 {"name":"amount","type":"double"},{"name":"currency","type":"string"},{"name":"items","type":"int"},
 {"name":"express","type":"boolean"},{"name":"coupon","type":["null","string"],"default":null},
 {"name":"created_at","type":{"type":"long","logicalType":"timestamp-millis"}},
 {"name":"note","type":"string"}]}"#;

/// The payload of event `n`.
pub fn payload(n: u64) -> String {
    let status = ["NEW", "PAID", "SHIPPED", "DONE"][(n % 4) as usize];
    format!(
        r#"{{"order_id":"ord-{n:012}","customer_id":{},"status":"{status}","amount":{}.25,"currency":"EUR","items":{},"express":{},"coupon":{},"created_at":{},"note":"leave at the door, ring twice"}}"#,
        n * 7919 % 1_000_003,
        n % 900,
        n % 12,
        n.is_multiple_of(2),
        if n.is_multiple_of(3) { "null" } else { "\"SPRING\"" },
        1_760_000_000_000_u64 + n,
    )
}

/// Event `n` as the service takes it.
pub fn event(n: u64) -> String {
    format!(
        r#"{{"event_id":"evt-{n:016}","timestamp":"2026-11-20T08:{:02}:{:02}.{:03}Z","event_type":"order.placed","payload":{}}}"#,
        n / 60_000 % 60,
        n / 1000 % 60,
        n % 1000,
        payload(n)
    )
}
