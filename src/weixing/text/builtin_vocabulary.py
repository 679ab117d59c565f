"""The built-in vocabulary, made by rule, so that the package needs no file of another project.

The rule, in the order of the ids:

1. [PAD] 0, [unused1] … [unused99], [UNK] 100, [CLS] 101, [SEP] 102, [MASK] 103, as in BERT-Chinese;
2. characters: printable ASCII, all of GB 2312 (symbols, full-width forms, kana, Greek, Cyrillic, 6,763 Hanzi), of Big5
   the symbols (bytes A140–A3BF) and the 5,401 frequent Hanzi (A440–C67E), then `SYMBOLS` and `HANZI`; each as
   normalisation leaves it, in the order of the standards. Those that can be part of a word also in the form ##c;
3. numbers: 00–99 and ##00–##99, the years 1900–2099;
4. ##aa–##zz, so that foreign words stay short;
5. `SUFFIXES` in the form ##s, then `WORDS`: English and technical words that occur in Chinese text, chosen by hand;
6. [unused100] … up to the next multiple of 64.

No entry that tokenization cannot produce: no upper case, no accented letter, no ##汉. Opens code_points.npz, no more.
"""

from collections.abc import Iterable, Iterator
from functools import cache
from string import ascii_lowercase, digits

from weixing.text.code_points import PART, SINGLE, code_points

_MULTIPLE = 64  # matrix products like a vocabulary of whole tiles

SYMBOLS = """
〇ー㎥€©®™¶†‡‐‑−⋯‼«»‹›¹²³½¼¾µßæðøþđłœıə∂∇∅∀∘⊗⊕⇒⇔↔↩⌘◑❶❷❸❹❺❻❼❽❾❿➊➋➌➍➎✓✔✗✘✅❌❗⚠⚡✨☀☁☎☕♥♡♪♫⭐
😀😁😂🤣😃😄😅😆😉😊😋😎😍😘🙂🙃🤔😏😒😓😔😖😜😝😞😢😭😱😡😳😴😑😬😷🤗🤩🥰🥺🤮🙄🙈🙏👍👎👌👏👋👇👉👀💪❤💔💕💖💗💙💚💛💜💯🎉🎊🎂🔥🌹🌸🌟🌈🍀💡💰🚀🔒🐶🐷🐱
"""

HANZI = """
囧冏喆堃旻旸昉昺晧暐曌祎祂彧珺珽珅玠玗玚玙珣珰琇琡琎瑄瑊瑫瑱瑨璆璈璠璥瓘瓛翀翙翯颎颙颋顗綝纮绖绹缊飏飔骃骎骙骦锜铏铚鋆镕镠锳鲀鲃鲉鲙鲹鹍鹖鹢鹮鸮鸻鹀鹟骉啰嘚嘅囍
噁咘啫啲嬛嬿嬅婳嫄姁姮姞姈妘昰炆炘炩烜焗熜燊燚垚垕埗塱壸夐夬岀岆峣嵎峇傕偓偲傒俶伷佷俛乂乭亶亹倓倧偁氹汧汭沇沨泚洺浐涒淏淯渼湉湜溍滘滉滪漈潏澥澂濊瀍愔悰惔惢惲慬
憙憍忳怳愃扆抃捯搧摛摽敩敳斁斝杅枹柷桲梣梾棬棪棨楤楯榅樛橞檝檦殽毐毌烝畤畬畯疍瘆皞皝眛瞓砵碁磻禛秾稺穄窸窣竑筜筼箓簠粿絪羑羕羖翾肸脷臜芃苾茀荅莯菑萩葎蒍薁蚡蠫衎
袆裈褔觍諲谞豨赟赑跶蹚轘辒邠邨邽郈郤鄜鄠鄩酂鈺鉷闇闿阇陁霅霂靺鞨鞮頔馃鮸鮞鯭鲾鳀黡齁龑龢爲裏靑淸眞敎旣卽峯羣舖劵菓粧査旳畑辻込峠丼榊栃凪匂気実戦徳県発続読経図両
円巻楽様観覇鉄駅渋沢竜斎黒
"""

SUFFIXES = """
ing ion tion ment ness able ible less ship ward wise ful est ers ity ive ize ism ist ous age ance ence ent ant ate ary
ory ology ics graph phone com net org www http cn hk tw html xml cpp app web log mail book line work word land side
time
"""

WORDS = """
the of and to in is for on with by at from as it be this that are was you we he she they my your his her our me us not
no yes or an if so do all can will one two three four five six seven eight nine ten new old good bad big best better
more most less much many some any only just first last next now then here there what when where which who why how up
down out off over under back get go come make take give see look know think want need like love life live man men woman
girl boy baby kid day night week month year time today world home house city street road school college university room
red blue green black white gold dark light sun moon star sky sea fire water air earth heart hand head eye face body
mind dream king queen prince princess lady sir mr mrs ms dr st hello hi hey ok bye thank thanks sorry please happy
birthday christmas party show music song rock pop rap jazz band dj mv cd dvd tv movie film video photo camera game play
player team club cup match goal win nba cba fifa uefa mvp vs ufc nfl f1 golf tennis football basketball olympic book
read write news report story art design style fashion brand shop store sale vip spa diy ktv bar cafe coffee tea wine
beer food cake pizza hotel bus car auto suv mpv bmw benz audi ford jeep honda toyota tesla volvo apple google microsoft
amazon facebook twitter instagram youtube yahoo intel amd nvidia ibm hp dell lenovo sony samsung nokia huawei oppo vivo
xiaomi iphone ipad ipod mac android ios windows linux ubuntu unix office excel word ppt pdf doc txt jpg png gif mp3 mp4
avi usb led lcd oled cpu gpu ram rom ssd hdd gps wifi bluetooth 2d 3d 4k 3g 4g 5g app web www http https com cn net org
edu gov html css js php java javascript python sql mysql xml json api sdk url ip tcp udp dns ftp ssh vpn cdn cms crm
erp oa saas paas iaas cloud aws azure data database server client host domain email mail gmail qq msn wechat weibo bbs
blog forum online offline internet network mobile phone smart pc pad notebook desktop laptop software hardware system
studio visual program code file test key user name password login id admin root pro plus max mini ultra lite note edge
version beta alpha update download upload free open source github git docker node react vue ui ux bug shell ai ar vr
iot robot machine learning deep model neural tensorflow pytorch bert gpt chatgpt llm openai chip block chain bitcoin
token nft web3 bank pay alipay visa card ipo ceo cfo coo cto cio hr pr md phd mba emba gdp cpi ppi pmi wto imf un eu
usa uk uae apec asean brics nato opec nasa fbi cia cdc fda iso gmp ce gb usd rmb cny hkd eur jpy etf qfii vc pe pb roe
ebitda kpi okr roi ppp bot b2b b2c c2c o2o p2p 4s 5a mcn kg km cm mm nm mg ml kw kwh mw gw hz khz mhz ghz kb mb tb bit
byte mpa kpa ph dna rna pcr hiv aids sars covid hpv ct mri icu ecg bmi vitamin omega a4 cad ps photoshop adobe flash
plc rfid qr nfc pos atm sim sms mms im china chinese beijing shanghai hong kong taiwan asia japan tokyo korea america
american europe france paris london germany italy russia india york washington california boston chicago san los
angeles international national global group company limited ltd inc co corp center service services business management
market marketing product production quality technology science research engineering development project plan policy
public social state government law health medical hospital education student teacher training english language culture
history journal review press media times daily post magazine vol page part chapter section table figure fig copyright
reserved rights abstract introduction method methods result results conclusion references effect study analysis based
control process structure function value type class object string list set map true false null none int var let const
return import export include main index size high low long short top hot cool super min power energy oil gas metal
steel carbon eco nature beauty color sex hiphop girls boys kids women monday tuesday wednesday thursday friday saturday
sunday january february march april may june july august september october november december spring summer autumn
winter north south east west central pm am bc ad etc via per
"""


@cache
def builtin_tokens() -> tuple[str, ...]:
    """The entries of the built-in vocabulary in the order of their ids; the same on every machine."""
    tokens = list(dict.fromkeys(_entries()))
    missing = -len(tokens) % _MULTIPLE
    return (*tokens, *(f"[unused{number}]" for number in range(100, 100 + missing)))


def _entries() -> Iterator[str]:
    """The entries but for the last fill, some of them more than once."""
    yield "[PAD]"
    yield from (f"[unused{number}]" for number in range(1, 100))
    yield from ("[UNK]", "[CLS]", "[SEP]", "[MASK]")
    yield from _forms(map(chr, range(0x21, 0x7F)))
    yield from _forms(_characters("gb2312", 0xA1A1, 0xF7FE))
    yield from _forms(_characters("big5", 0xA140, 0xA3BF))
    yield from _forms(_characters("big5", 0xA440, 0xC67E))
    yield from _forms(SYMBOLS + HANZI)
    pairs = [first + second for first in digits for second in digits]
    yield from pairs
    yield from (f"##{pair}" for pair in pairs)
    yield from map(str, range(1900, 2100))
    yield from (f"##{first}{second}" for first in ascii_lowercase for second in ascii_lowercase)
    yield from (f"##{suffix}" for suffix in SUFFIXES.split())
    yield from WORDS.split()


def _characters(encoding: str, first: int, last: int) -> Iterator[str]:
    """The characters that `encoding` writes with two bytes from `first` to `last`, in this order."""
    for code in range(first, last + 1):
        decoded = code.to_bytes(2, "big").decode(encoding, errors="ignore")
        if len(decoded) == 1 and not decoded.isascii():  # a lone lead byte leaves ASCII or nothing
            yield decoded


def _forms(characters: Iterable[str]) -> Iterator[str]:
    """Of each character what normalisation leaves of it, and its form inside words if it can be inside one."""
    points = code_points()
    for character in characters:
        kind, normalised = points.kind[ord(character)], chr(points.normalised[ord(character)])
        if kind in (SINGLE, PART):
            yield normalised
        if kind == PART:
            yield f"##{normalised}"
