# People who look after the home: they see every secret's name, and write those of the guests.
path "kv/metadata/*" {
  capabilities = ["read", "list"]
}

path "kv/data/guests" {
  capabilities = ["create", "read", "update"]
}
