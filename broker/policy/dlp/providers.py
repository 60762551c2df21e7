"""The formats of providers' keys, from the providers' own documentation, as RE2 and `re` both read them.

STRICT_KEYS prove themselves by alphabet and length. JUDGED_KEYS could also be a placeholder or a name made of
words, and have to look random as well. Publishable keys and account names are no secrets and not listed.
INFIX_KEYS begin with nothing of their own: something stands within them that tells.
"""

STRICT_KEYS = (
    r"(?:AKIA|ASIA|ABIA|ACCA)[0-9A-Z]{16}\b",  # AWS access keys
    r"eyJ[0-9A-Za-z_-]{8,}\.eyJ[0-9A-Za-z_-]{8,}(?:\.[0-9A-Za-z_-]{8,})",  # JWS, RFC 7519
    r"https://hooks\.slack\.com/(?:services|workflows|triggers)/[0-9A-Za-z/_-]{20,}",
    r"AGE-SECRET-KEY-1[0-9A-Z]{58}",
    r"https://(?:[a-z]+\.)?discord(?:app)?\.com/api/webhooks/[0-9]+/[0-9A-Za-z_-]{60,}",
)

JUDGED_KEYS = (
    # OpenAI, Anthropic, OpenRouter, DeepSeek and others with this prefix
    r"sk-[0-9A-Za-z_-]{20,}",
    r"(?:gsk_|xai-|r8_|pplx-|nvapi-|fw_|csk-|tgp_v1_)[0-9A-Za-z_-]{32,}",
    r"(?:hf|api_org)_[0-9A-Za-z]{30,}",
    # Code hosts and registries
    r"gh[opusr]_[0-9A-Za-z]{36,}",
    r"github_pat_[0-9A-Za-z_]{22,}",
    r"gl(?:pat|dt|rt|cbt|ptt|soat|ft|agent|imt|oas|ffct)-[0-9A-Za-z_-]{20,}",
    r"ATATT3[0-9A-Za-z_=-]{30,}",
    r"ATBB[0-9A-Za-z]{32,}",
    r"npm_[0-9A-Za-z]{36}",
    r"pypi-[0-9A-Za-z_-]{50,}",
    r"rubygems_[0-9a-f]{48}",
    r"dckr_(?:pat|oat)_[0-9A-Za-z_-]{27,}",
    # Clouds
    r"AIza[0-9A-Za-z_-]{35}",
    r"GOCSPX-[0-9A-Za-z_-]{28}",
    r"ya29\.[0-9A-Za-z_-]{20,}",
    r"1//0[0-9A-Za-z_-]{40,}",
    r"do[opr]_v1_[0-9a-f]{64}",
    r"dapi[0-9a-f]{32}",
    r"HRKU-[0-9A-Za-z_-]{36,}",
    r"(?:hvs|hvb|hvr)\.[0-9A-Za-z_-]{24,}",
    r"dp\.(?:pt|st|ct|sa|scim|audit)\.[0-9A-Za-z_.-]{40,}",
    r"pscale_(?:tkn|pw|oauth)_[0-9A-Za-z_.-]{32,}",
    r"sb[ps]_[0-9a-f]{40}",
    r"sb_secret_[0-9A-Za-z_-]{20,}",
    r"FlyV1 fm[0-9]_[0-9A-Za-z+/=,_-]{100,}",
    # Payments and shops
    r"(?:sk|rk)_(?:live|test|prod)_[0-9A-Za-z]{10,}",
    r"whsec_[0-9A-Za-z+/=]{24,}",
    r"shp(?:at|ca|pa|ss)_[0-9A-Fa-f]{32}",
    r"sq0(?:atp|csp)-[0-9A-Za-z_-]{22,}",
    r"EAAA[0-9A-Za-z_-]{56,}",
    r"access_token\$(?:production|sandbox)\$[0-9a-z]{16}\$[0-9a-f]{32}",
    # Messages and mail
    r"xox[abeoprs](?:\.xox[a-z])?-[0-9A-Za-z-]{10,}",
    r"xapp-[0-9]-[0-9A-Za-z-]{20,}",
    r"SG\.[0-9A-Za-z_-]{16,}\.[0-9A-Za-z_-]{16,}",
    r"SK[0-9a-f]{32}\b",
    r"key-[0-9a-f]{32}\b",
    r"xkeysib-[0-9a-f]{64}-[0-9A-Za-z]{16}",
    r"re_[0-9A-Za-z]{8,}_[0-9A-Za-z]{20,}",
    # Tools
    r"lin_(?:api|oauth)_[0-9A-Za-z]{32,}",
    r"(?:ntn_|secret_)[0-9A-Za-z]{40,}",
    r"fig[dou]r?_[0-9A-Za-z_-]{40,}",
    r"PMAK-[0-9a-f]{24}-[0-9a-f]{34}",
    r"gl(?:sa|c)_[0-9A-Za-z_+/=]{32,}",
    r"NR(?:AK|RA|II)-[0-9A-Za-z-]{27,}",
    r"sntry[su]_[0-9A-Za-z_+/=-]{40,}",
    r"phx_[0-9A-Za-z]{40,}",
    r"(?:sk|pk)-lf-[0-9a-f-]{36}",
    r"ls(?:v2)?_(?:pt|sk|__)_?[0-9A-Za-z_]{32,}",
    r"sk_[0-9a-f]{48}\b",
    r"(?:pat|patn)[0-9A-Za-z]{14}\.[0-9a-f]{64}",
    r"CFPAT-[0-9A-Za-z_-]{40,}",
    r"AQ\.[0-9A-Za-z_-]{40,}",
)

INFIX_KEYS = (
    r"[0-9A-Za-z_~.]{3}[78]Q~[0-9A-Za-z_~.-]{31,34}",  # Azure client secrets
    r"[0-9A-Za-z]{14}\.atlasv1\.[0-9A-Za-z_-]{60,}",  # Terraform Cloud
    r"[0-9a-f]{32}-us[0-9]{1,2}\b",  # Mailchimp
    r"[0-9]{8,10}:AA[0-9A-Za-z_-]{33}\b",  # Telegram bots
)
