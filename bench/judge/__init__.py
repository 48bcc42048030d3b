"""From recorded episodes to a verdict. Pure: a plan and journal rows in, decisions out."""
