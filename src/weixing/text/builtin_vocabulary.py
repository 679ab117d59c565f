"""The built-in vocabulary, made by rule, so that the package needs no file of another project.

The rule, in the order of the ids:

1. [PAD] 0, [unused1] … [unused99], [UNK] 100, [CLS] 101, [SEP] 102, [MASK] 103, as in BERT-Chinese;
2. characters: printable ASCII, all of GB 2312 (symbols, full-width forms, kana, Greek, Cyrillic, 6,763 Hanzi), the symbols
   and the 5,401 frequent Hanzi of Big5 (bytes A140–A3BF and A440–C67E), and `OTHER_CHARACTERS`; each as normalisation
   leaves it, in the order of the standards. Those that can be part of a word also in the form ##c;
3. numbers: 00–99 and ##00–##99, the years 1900–2099;
4. ##aa–##zz, so that foreign words stay short;
5. `SUFFIXES` in the form ##s, `WORDS`: written by hand, English and technical words that occur in Chinese text;
6. [unused100] … up to the next multiple of 64.

No entry that tokenization cannot produce: no upper case, no accented letter, no ##汉. Opens nothing but code_points.npz.
"""

from collections.abc import Iterable, Iterator
from functools import cache
from string import ascii_lowercase, digits

from weixing.text.code_points import PART, SINGLE, code_points

_MULTIPLE = 64

OTHER_CHARACTERS = "€£¢©®™§¶†‡•ßæðøþđłœı😀😁😂🤣😃😄😅😆😉😊😋😎😍😘🙂🤔😏😒😓😔😖😜😝😞😢😭😱😡😳😴🙏👍👎👏💪❤💔🎉🔥🌹⭐"

SUFFIXES = """
ing ion tion ment ness able ible less ship ward wise ful est ers ity ive ize ism ist ous age ance ence ent ant ate ary
ory ology ics graph phone com net org www http cn hk tw html xml cpp app web log mail book line work word land side time
""".split()

WORDS = """
the of and to in is for on with by at from as it be this that are was you we he she they my your his her our me us not no
yes or an if so do all can will one two three four five six seven eight nine ten new old good bad big best better more
most less much many some any only just first last next now then here there what when where which who why how up down out
off over under back get go come make take give see look know think want need like love life live man men woman girl boy
baby kid day night week month year time today world home house city street road school college university room
red blue green black white gold dark light sun moon star sky sea fire water air earth heart hand head eye face body mind
dream king queen prince princess lady sir mr mrs ms dr st hello hi hey ok bye thank thanks sorry please happy birthday
christmas party show music song rock pop rap jazz band live dj mv cd dvd tv movie film video photo camera game play
player team club cup match goal win nba cba fifa uefa mvp vs ufc nfl f1 golf tennis football basketball olympic olympics
book read write news report story art design style fashion brand shop store sale vip spa diy ktv bar cafe coffee tea
wine beer food cake pizza hotel bus car auto suv mpv bmw benz audi ford jeep honda toyota tesla volvo apple google
microsoft amazon facebook twitter instagram youtube yahoo intel amd nvidia ibm hp dell lenovo sony samsung nokia
huawei oppo vivo xiaomi iphone ipad ipod imac mac android ios windows linux unix office excel word ppt pdf doc txt jpg
png gif mp3 mp4 avi usb led lcd oled cpu gpu ram rom ssd hdd gps wifi bluetooth 3d 4k 2d 3g 4g 5g app apps web www http
https com cn net org edu gov html css js php java python sql xml json api sdk url ip tcp udp dns ftp ssh vpn cdn cms
crm erp oa saas paas iaas cloud data big database server client host domain email mail gmail qq msn wechat weibo bbs
blog forum online offline internet network mobile phone smart home pc pad notebook desktop laptop software hardware
system program code file test key user name password login id admin root pro plus max mini ultra air lite note edge
version beta alpha update download upload free open source github ai ar vr mr iot robot machine learning deep model
neural bert gpt chip block chain bitcoin token nft web3 bank pay alipay visa card ipo ceo cfo coo cto cio hr pr md phd
mba emba gdp cpi ppi pmi wto imf un eu us usa uk uae apec asean brics nato opec nasa fbi cia who cdc fda iso gmp ce gb
usd rmb cny hkd eur jpy etf qfii vc pe pb roe ebitda kpi okr roi ppp bot b2b b2c c2c o2o p2p 4s 5a ip mcn up ok ng
kg km cm mm nm mg ml kw kwh mw gw hz khz mhz ghz kb mb gb tb bit byte mpa kpa ph dna rna pcr hiv aids sars covid hpv
ct mri icu ecg bmi vitamin omega a4 cad ps photoshop adobe flash pro auto plc rfid qr nfc pos atm sim sms mms im
china chinese beijing shanghai hong kong taiwan asia japan tokyo korea america american europe france paris london
germany italy russia india york washington california boston chicago san los angeles new international national global
group company limited ltd inc co corp center service services business management market marketing product
production quality technology science research engineering development project plan policy public social state
government law health medical hospital education student teacher training english language culture history
international journal review press media times daily post magazine vol page part chapter section table figure fig
copyright reserved rights abstract introduction method methods result results conclusion references effect study
analysis based control process structure function value type class high low long short top hot cool super max min
power energy oil gas metal steel carbon green eco nature love beauty color sex hiphop girls boys kids men women
monday tuesday wednesday friday saturday sunday january february march april may june july august september october
november december spring summer autumn winter north south east west central pm am bc ad no vs etc via per
""".split()


@cache
def builtin_tokens() -> tuple[str, ...]:
    """The entries of the built-in vocabulary in the order of their ids; the same on every machine."""
    tokens = dict.fromkeys(_entries())
    tokens.update((f"[unused{number}]", None) for number in range(100, 100 + -len(tokens) % _MULTIPLE))
    return tuple(tokens)


def _entries() -> Iterator[str]:
    yield "[PAD]"
    yield from (f"[unused{number}]" for number in range(1, 100))
    yield from ("[UNK]", "[CLS]", "[SEP]", "[MASK]")
    yield from _character_entries(map(chr, range(0x21, 0x7F)))
    yield from _character_entries(_two_byte_characters("gb2312", range(0xA1, 0xF8), range(0xA1, 0xFF)))
    yield from _character_entries(_two_byte_characters("big5", range(0xA1, 0xA4), range(0x40, 0xFF)))
    yield from _character_entries(_two_byte_characters("big5", range(0xA4, 0xC7), range(0x40, 0xFF)))
    yield from _character_entries(OTHER_CHARACTERS)
    pairs = [first + second for first in digits for second in digits]
    yield from pairs
    yield from (f"##{pair}" for pair in pairs)
    yield from map(str, range(1900, 2100))
    yield from (f"##{first}{second}" for first in ascii_lowercase for second in ascii_lowercase)
    yield from (f"##{suffix}" for suffix in SUFFIXES)
    yield from WORDS


def _two_byte_characters(encoding: str, leads: Iterable[int], trails: range) -> Iterator[str]:
    """The characters that `encoding` writes with these first and second bytes, in this order."""
    for lead in leads:
        for trail in trails:
            yield from bytes((lead, trail)).decode(encoding, errors="ignore")[:1]


def _character_entries(characters: Iterable[str]) -> Iterator[str]:
    """Of each character what normalisation leaves of it, and its form inside words if it can be inside one."""
    points = code_points()
    for character in characters:
        kind, normalised = points.kind[ord(character)], chr(points.normalised[ord(character)])
        if kind in (SINGLE, PART):
            yield normalised
        if kind == PART:
            yield f"##{normalised}"
