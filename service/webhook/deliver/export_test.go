package deliver

// RetryAfter is retryAfter.
var RetryAfter = retryAfter

// Retries are the waits between tries.
var Retries = retries

// Permit is what the dialer asks.
var Permit = (*Guard).permit
