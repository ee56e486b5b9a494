module caravan.test/smoke

go 1.21
