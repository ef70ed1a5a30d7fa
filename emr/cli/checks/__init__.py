"""What `emr doctor` looks at, a module a subject. A check changes nothing, and says what to do."""
