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
    r"sess-[0-9A-Za-z]{40}\b",
    r"(?:gsk_|xai-|r8_|pplx-|nvapi-|csk-|tgp_v1_)[0-9A-Za-z_-]{32,}",
    r"fw_[0-9A-Za-z]{22,}",
    r"(?:hf|api_org)_[0-9A-Za-z]{30,}",
    r"tvly-[0-9A-Za-z-]{32,}",
    r"fc-[0-9a-f]{32}\b",
    r"pcsk_[0-9A-Za-z]{5,6}_[0-9A-Za-z]{60,}",
    r"jina_[0-9A-Za-z]{40,}",
    r"pa-[0-9A-Za-z_-]{43}\b",
    r"wandb_v1_[0-9A-Za-z_]{40,}",
    r"esecret_[0-9A-Za-z]{24,}",
    r"app-[0-9A-Za-z]{24}\b",
    r"key_[0-9a-f]{64}\b",
    r"e2b_[0-9a-f]{40}\b",
    r"apify_api_[0-9A-Za-z]{36}",
    # Code hosts and registries
    r"gh[opusr]_[0-9A-Za-z]{36,}",
    r"github_pat_[0-9A-Za-z_]{22,}",
    r"gl(?:pat|dt|rt|rtr|cbt|ptt|soat|ft|agent|imt|oas|ffct)-[0-9A-Za-z_-]{20,}(?:\.[0-9a-z]{2}\.[0-9a-z]{9})?",
    r"ATATT3[0-9A-Za-z_=-]{30,}",
    r"ATBB[0-9A-Za-z]{32,}",
    r"npm_[0-9A-Za-z]{36}",
    r"pypi-[0-9A-Za-z_-]{50,}",
    r"rubygems_[0-9a-f]{48}",
    r"dckr_(?:pat|oat)_[0-9A-Za-z_-]{27,}",
    r"cio[0-9A-Za-z]{32}\b",
    r"AKCp[0-9A-Za-z]{69}",
    r"sgp_(?:(?:[0-9a-f]{16}|local)_)?[0-9a-f]{40}\b",
    r"bkua_[0-9a-f]{40}",
    r"CCI(?:PAT|PRJ)_[0-9A-Za-z]{22}_[0-9a-f]{40}",
    r"sq[apu]_[0-9a-f]{40}",
    r"pat\.[0-9A-Za-z_-]{22}\.[0-9A-Za-z]{24}\.[0-9A-Za-z]{20}",
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
    r"FlyV1 fm[0-9]_[0-9A-Za-z+/=,_-]{99,}[0-9A-Za-z+/=_-]",
    r"ABSK[0-9A-Za-z+/]{100,}={0,2}",  # Amazon Bedrock
    r"vc[pciark]_[0-9A-Za-z]{24,}",  # Vercel
    r"nfp_[0-9A-Za-z]{36}",
    r"rnd_[0-9A-Za-z]{28,}",
    r"pul-[0-9a-f]{40}",
    r"pnu_[0-9A-Za-z]{36}",
    r"cf(?:k|ut|at)_[0-9A-Za-z]{40,}",
    r"napi_[0-9a-z]{40,}",
    r"dd[pw]_[0-9A-Za-z]{36}",
    r"sk\.eyJ1[0-9A-Za-z_-]{20,}\.[0-9A-Za-z_-]{20,}",  # Mapbox
    # Payments and shops
    r"(?:sk|rk)_(?:live|test|prod)_[0-9A-Za-z]{10,}",
    r"whsec_[0-9A-Za-z+/=]{24,}",
    r"shp(?:at|ca|pa|ss)_[0-9A-Fa-f]{32}",
    r"sq0(?:atp|csp)-[0-9A-Za-z_-]{22,}",
    r"EAAA[0-9A-Za-z_-]{56,}",
    r"EZ[AT]K[0-9A-Za-z]{54}",
    r"FLWSECK(?:_TEST)?-[0-9A-Fa-f]{32}-X",
    r"duffel_(?:live|test)_[0-9A-Za-z_=-]{43}",
    r"access_token\$(?:production|sandbox)\$[0-9a-z]{16}\$[0-9a-f]{32}",
    # Messages and mail
    r"xox[abeoprs](?:\.xox[a-z])?-[0-9A-Za-z-]{10,}",
    r"xapp-[0-9]-[0-9A-Za-z-]{20,}",
    r"SG\.[0-9A-Za-z_-]{16,}\.[0-9A-Za-z_-]{16,}",
    r"SK[0-9a-f]{32}\b",
    r"key-[0-9a-f]{32}\b",
    r"mlsn\.[0-9a-f]{64}",
    r"EAA[0-9A-Za-z]{100,}",  # Meta
    r"xkeysib-[0-9a-f]{64}-[0-9A-Za-z]{16}",
    r"re_[0-9A-Za-z]{8,}_[0-9A-Za-z]{20,}",
    # Tools
    r"ops_eyJ[0-9A-Za-z+/=_-]{100,}",  # 1Password
    r"dt0[a-z][0-9]{2}\.[0-9A-Z]{24}\.[0-9A-Z]{64}",
    r"pat-(?:na|eu|ap)[0-9]-[0-9a-f]{8}-[0-9a-f-]{27}",  # HubSpot
    r"aio_[0-9A-Za-z]{28}\b",
    r"tfp_[0-9A-Za-z_.-]{40,}",
    r"rdme_[0-9a-z]{70}",
    r"s-s4t2(?:ud|af)-[0-9a-f]{64}",
    r"pk_[0-9]{6,10}_[0-9A-Z]{32}\b",  # ClickUp
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
