package billing

// Fold is a purchase after notices, in their order.
func Fold(notices ...Notice) (p Purchase) {
	for _, n := range notices {
		p = p.with(n)
	}
	return p
}

// Grant is what a purchase gives under the plans.
func Grant(p Purchase, plans ...Plan) (License, bool) { return p.grant(plans) }

// SettleLicenses is the rule of an account that has several licenses.
var SettleLicenses = settle
