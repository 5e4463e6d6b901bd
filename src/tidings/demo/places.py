"""Where the demo's customers live and what people are called there: plain data, every person invented."""

from __future__ import annotations

from dataclasses import dataclass

# The EU site also serves those for whom there is no site of their own.
MARKETS = ("EU", "US", "UK", "JP")
CURRENCIES = ("EUR", "USD", "GBP", "JPY")


@dataclass(frozen=True, slots=True)
class Place:
    """A town's worth of customers. ``phone`` has a # for every random digit and a * for a digit from 2 to 9."""

    country: str
    region: str | None
    zone: str
    locale: str
    market: int
    weight: float
    names: str
    phone: str


PLACES = (
    Place("FI", None, "Europe/Helsinki", "fi_FI", 0, 8, "fi", "+35840#######"),
    Place("SE", None, "Europe/Stockholm", "sv_SE", 0, 5, "sv", "+4670#######"),
    Place("DE", "BE", "Europe/Berlin", "de_DE", 0, 11, "de", "+49151########"),
    Place("FR", "IDF", "Europe/Paris", "fr_FR", 0, 9, "fr", "+336########"),
    Place("NL", None, "Europe/Amsterdam", "nl_NL", 0, 5, "nl", "+316########"),
    Place("ES", "MD", "Europe/Madrid", "es_ES", 0, 5, "es", "+346########"),
    Place("IT", "LOM", "Europe/Rome", "it_IT", 0, 5, "it", "+39347#######"),
    Place("PL", None, "Europe/Warsaw", "pl_PL", 0, 3, "pl", "+48512######"),
    Place("GR", None, "Europe/Athens", "el_GR", 0, 2, "el", "+30694#######"),
    Place("BG", None, "Europe/Sofia", "bg_BG", 0, 1.5, "bg", "+35988#######"),
    Place("GB", "ENG", "Europe/London", "en_GB", 2, 8, "en", "+447400######"),
    Place("US", "NY", "America/New_York", "en_US", 1, 5, "en", "+1212*######"),
    Place("US", "FL", "America/New_York", "en_US", 1, 2, "en", "+1305*######"),
    Place("US", "IL", "America/Chicago", "en_US", 1, 3, "en", "+1312*######"),
    Place("US", "CO", "America/Denver", "en_US", 1, 1.5, "en", "+1303*######"),
    Place("US", "CA", "America/Los_Angeles", "en_US", 1, 4, "en", "+1213*######"),
    Place("CA", "ON", "America/Toronto", "en_CA", 1, 2, "en", "+1416*######"),
    Place("MX", None, "America/Mexico_City", "es_MX", 0, 1.5, "es", "+5255########"),
    Place("BR", "SP", "America/Sao_Paulo", "pt_BR", 0, 2, "pt", "+55119########"),
    Place("CL", None, "America/Santiago", "es_CL", 0, 1, "es", "+569########"),
    Place("JP", "13", "Asia/Tokyo", "ja_JP", 3, 6, "ja", "+8190########"),
    Place("KR", None, "Asia/Seoul", "ko_KR", 0, 1.5, "ko", "+8210########"),
    Place("SG", None, "Asia/Singapore", "en_SG", 0, 1, "zh", "+659#######"),
    Place("AE", None, "Asia/Dubai", "ar_AE", 0, 1, "ar", "+97150#######"),
    Place("IL", None, "Asia/Jerusalem", "he_IL", 0, 0.5, "he", "+97250#######"),
    Place("IN", "KA", "Asia/Kolkata", "en_IN", 0, 1, "in", "+9198########"),
    Place("AU", "NSW", "Australia/Sydney", "en_AU", 1, 2.5, "en", "+614########"),
    Place("AU", "WA", "Australia/Perth", "en_AU", 1, 0.5, "en", "+614########"),
    Place("NZ", None, "Pacific/Auckland", "en_NZ", 1, 1, "en", "+6421#######"),
)

NAMES: dict[str, tuple[str, str]] = {
    "fi": (
        "Aino Eero Helmi Väinö Sanni Onni Lempi Arvo Inkeri Taisto Päivi Jyrki Sisko Oiva",
        "Virtanen Mäkelä Korpi Niskanen Hämäläinen Laakso Rantanen Ylönen Salmi Koivisto",
    ),
    "sv": ("Elsa Åke Märta Nils Saga Gösta Ebba Sten Tuva Love", "Ekström Sjöberg Nyqvist Åberg Lindh Öberg Dahl"),
    "de": (
        "Anke Jürgen Mia Bernd Käthe Lutz Frieda Jonas Heike Götz",
        "Brückner Weiß Köhler Albrecht Schäfer Vogt Lüders Kranz Ostermann",
    ),
    "fr": ("Chloé Rémi Zoé Gaël Inès Noël Maëlle Yves Léonie Aurèle", "Lefèvre Dubosc Garnier Béranger Moulin Noiret"),
    "nl": ("Sanne Daan Fenna Joost Mies Thijs Roos Bram", "de_Vries van_Dijk Bakker Hoekstra Mulder Smits"),
    "es": ("Lucía Iñaki Belén Andrés Ximena Óscar Nerea Tomás", "Ibáñez Núñez Ortega Rincón Peñalver Solís"),
    "it": ("Giulia Nicolò Chiara Dario Mirella Piero Alessia Ugo", "Bellandi Corsi D'Amico Ferrante Lombardi Sartori"),
    "pl": ("Zofia Łukasz Małgorzata Jędrzej Kinga Bożena Wojciech", "Wróbel Zając Śliwa Dąbrowska Krawiec Łącka"),
    "el": ("Ελένη Γιώργος Μαρία Νίκος Σοφία Κώστας", "Παππάς Γεωργίου Αλεξίου Μακρής Δήμου"),
    "bg": ("Мария Георги Елена Димитър Цвета Стоян", "Иванова Петков Колева Тодоров Стоева"),
    "en": (
        "Grace Owen Maya Theo Ruby Callum Ivy Desmond Priya Marcus Nora Elliot Fern Tyrone Alice Hugh Zadie Leon",
        "Hartley O'Neill Okafor Sutton Whitlock Baptiste Marsh Delgado Pryce Langford Nakamura Fielding Reyes Boone",
    ),
    "pt": ("João Conceição Tainá Caíque Luíza Antônio", "Gonçalves Araújo Paixão Moura Brandão"),
    "ja": ("葵 陽翔 さくら 蓮 ひなた 健一 美咲 大輔", "佐藤 鈴木 高橋 渡辺 小林 山口 石川"),
    "ko": ("서연 민준 지우 하준 수아 도윤", "김 이 박 최 정 한"),
    "zh": ("美玲 志明 雅婷 家豪 欣怡", "陈 林 黄 吴 郑"),
    "ar": ("ليلى عمر نور خالد سلمى", "الهاشمي منصور حداد قاسم"),
    "he": ("נועה איתי תמר יונתן", "לוי כהן ברק שלו"),
    "in": ("Ananya Rohan Kavya Arjun Meera Vikram", "Iyer Rao Deshpande Nair Kulkarni"),
}

# Names that break what trusts them: markup, template syntax, formula, marks that turn the text around, emoji, length.
HOSTILE_NAMES = (
    "<b>Ann</b>",
    "{{ 7*7 }}",
    "=SUM(A1)",
    "\u202eesreveR",
    "Zo\u00eb \U0001f469\u200d\U0001f467",
    'O\'Brien "Bo"',
    "Line\r\nBcc: all",
    "A" * 300,
)
BAD_ADDRESSES = (
    "no-at-sign.example",
    "two@@post.example",
    "spaces in@post.example",
    "@post.example",
    "x@",
    "a@b@c.example",
)
BAD_PHONES = ("12", "+99912345", "not a number", "0000000000", "+1 555")
